package master

// Methods are all that a master answers.
func Methods() []string {
	var out []string
	for m := range rules {
		out = append(out, m)
	}
	return out
}

// NeedsCertificate says whether a method does.
func NeedsCertificate(method string) bool { return rules[method].kind != "" }

// NeedsRole says which kind of certificate, and which role, a method wants.
func NeedsRole(method string) (kind string, role Role) { return rules[method].kind, rules[method].role }
