"""Results for other programs: data sets, data frames, and tables for papers with ranks."""
