"""The command `eocontrast`, a file per subcommand. May import everything."""
