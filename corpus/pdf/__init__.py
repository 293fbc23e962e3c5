"""PDFs through PDFium: opening, the text layer as Markdown, pages joined to a document."""
