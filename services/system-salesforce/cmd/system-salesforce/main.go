// Command system-salesforce serves one Salesforce org as selfsame.salesforce.v1.
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
	systemsalesforce "github.com/selfsame-io/selfsame/services/system-salesforce"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil && !errors.Is(err, conf.ErrHandled) {
		fmt.Fprintln(os.Stderr, "system-salesforce:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg, err := conf.Load(conf.Options{
		Program: "system-salesforce", EnvPrefix: "SELFSAME", Args: os.Args[1:], Environ: os.Environ(), Out: os.Stdout, Version: version(),
	}, systemsalesforce.DefaultConfig())
	if err != nil {
		return err
	}
	defer heap.Limit(cfg.MemoryLimit)()
	defer heap.Lend(cfg.Serve.BusyHeap)()
	return systemsalesforce.Run(ctx, cfg)
}

// version is that of the module, as the build recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
