"""What each status and reason means to somebody who has never seen it, and to the helpdesk. Text only."""
