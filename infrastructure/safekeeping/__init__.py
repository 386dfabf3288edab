"""What backups and archives share: where they are kept, what tells that they are whole, and who hears of them."""
