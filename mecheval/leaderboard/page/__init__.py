"""One page of HTML that shows reports: tables first, pictures on a click, nothing fetched."""
