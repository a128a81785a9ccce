package master

// Methods are all that a master answers.
func Methods() []string {
	var out []string
	for m := range rules {
		out = append(out, m)
	}
	return out
}

// NeedsRole says which kind of certificate, and which role, a method wants.
func NeedsRole(method string) (kind string, role Role) { return rules[method].kind, rules[method].role }
