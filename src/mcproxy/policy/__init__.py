"""Who may reach what: namespaces, access, rates, audit."""
