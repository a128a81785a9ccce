// sloth-shim is what runs on a host: it is put there once, and started by the
// controller over SSH.
package main

import (
	"os"

	"github.com/sloth-runner/sloth/runner/worker"
	_ "github.com/sloth-runner/sloth/runner/worker/front" // takes over when it is started as the front
)

func main() { os.Exit(worker.Main(os.Args[1:])) }
