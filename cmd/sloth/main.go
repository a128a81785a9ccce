// sloth configures and runs fleets of machines over nothing but SSH.
package main

import (
	"context"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// version is set by the linker.
var version = "dev"

func main() {
	collectLater()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// collectLater lets a short command end before its first garbage collection: the
// heap may grow to about 32 MB until then, and from then on as it usually does.
func collectLater() {
	const later = 800
	if os.Getenv("GOGC") != "" {
		return
	}
	usual := debug.SetGCPercent(later)
	runtime.AddCleanup(new(*int), func(usual int) {
		if is := debug.SetGCPercent(usual); is != later {
			debug.SetGCPercent(is) // what the command has chosen meanwhile
		}
	}, usual)
}

// run is main with everything passed in, so that tests are the same program.
func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	a := &app{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetContext(ctx)
	return a.exitCode(root.ExecuteContext(ctx))
}
