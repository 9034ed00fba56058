"""What a campaign means: its document, label tags, journey, redemption rules and templates. Pure: no I/O, no clock."""
