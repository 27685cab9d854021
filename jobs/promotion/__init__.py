"""What is served changes here: by the ledger, in whichever place serves, and back again if that fails."""
