// pack compresses one built shim for embedding: pack IN OUT.
package main

import (
	"fmt"
	"os"

	"github.com/sloth-runner/sloth/connection/shim/packed"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack IN OUT")
		os.Exit(1)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(in, out string) error {
	raw, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	data, err := packed.Pack(raw)
	if err != nil {
		return err
	}
	tmp := out + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}
