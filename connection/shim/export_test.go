package shim

// Lines are all lines that hosts are given.
func Lines() []string {
	return []string{
		bootstrapLine("HASH", false, nil, ""), bootstrapLine("HASH", true, []string{"/a b", "/c"}, "run-1"),
		startLine("/a b", "HASH"), receiveLine("/a b", "tmp", "HASH", "5"),
	}
}
