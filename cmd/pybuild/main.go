// Pybuild builds CPython from source and installs it safely.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"pybuild/build/run"
	"pybuild/cmd/internal/cli"
)

func main() {
	run.Init()
	os.Exit(mainIn(cli.Process{}))
}

// mainIn is main in a world that tests may change.
func mainIn(p cli.Process) (status int) {
	// Everything that pybuild and its children create is readable by all and writable by the owner alone, whatever the caller's
	// umask is: an interpreter in /usr/local that only root can read is of no use.
	syscall.Umask(0o022)
	ctx, stop := signal.NotifyContext(context.Background(), signals()...)
	defer stop()
	p.Args, p.Environ, p.Stdin, p.Stdout, p.Stderr = os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr
	return cli.Main(ctx, p)
}

// signals are those that end pybuild. One that the caller ignores (nohup, a background job of a shell) stays ignored by pybuild,
// but is caught all the same, because children inherit only what is ignored: CPython's tests fail under an ignored SIGINT.
func signals() []os.Signal {
	ending := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		} else {
			ending = append(ending, s)
		}
	}
	return ending
}
