// Command system-erp serves the embedded ERP as selfsame.erp.v1.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/heap"
	systemerp "github.com/selfsame-io/selfsame/services/system-erp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil && !errors.Is(err, conf.ErrHandled) {
		fmt.Fprintln(os.Stderr, "system-erp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg, err := conf.Load(conf.Options{
		Program: "system-erp", EnvPrefix: "SELFSAME", Args: os.Args[1:], Environ: os.Environ(), Out: os.Stdout,
	}, systemerp.DefaultConfig())
	if err != nil {
		return err
	}
	defer heap.Lend(cfg.Serve.BusyHeap)()
	return systemerp.Run(ctx, cfg)
}
