// Command process-customer keeps Salesforce and an ERP agreeing on customers and serves selfsame.customer.v1.
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
	processcustomer "github.com/selfsame-io/selfsame/services/process-customer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil && !errors.Is(err, conf.ErrHandled) {
		fmt.Fprintln(os.Stderr, "process-customer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg, err := conf.Load(conf.Options{
		Program: "process-customer", EnvPrefix: "SELFSAME", Args: os.Args[1:], Environ: os.Environ(), Out: os.Stdout,
	}, processcustomer.DefaultConfig())
	if err != nil {
		return err
	}
	defer heap.Lend(cfg.Serve.BusyHeap)()
	return processcustomer.Run(ctx, cfg)
}
