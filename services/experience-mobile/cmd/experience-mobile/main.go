// Command experience-mobile serves the REST API of the mobile apps.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/heap"
	experiencemobile "github.com/selfsame-io/selfsame/services/experience-mobile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg, err := conf.Load(conf.Options{
		Program: experiencemobile.Name, EnvPrefix: "SELFSAME", Args: os.Args[1:], Environ: os.Environ(), Out: os.Stdout, Version: version(),
	}, experiencemobile.DefaultConfig())
	if errors.Is(err, conf.ErrHandled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", experiencemobile.Name, err)
	}
	defer heap.Lend(cfg.Serve.BusyHeap)()
	return experiencemobile.Run(ctx, cfg)
}

// version is that of the module this program was installed from; "(devel)" for a build of a checkout.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
