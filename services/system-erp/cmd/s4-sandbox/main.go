// Command s4-sandbox runs a local SAP S/4HANA until it is interrupted.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

func main() {
	var cfg sandbox.Config
	var products string
	flag.StringVar(&cfg.Listen, "listen", "127.0.0.1:8090", "address of the services")
	flag.StringVar(&cfg.Release, "release", "2023", "release of the interfaces: 2020 or 2023")
	flag.StringVar(&cfg.Client, "client", "100", "the only client")
	flag.StringVar(&cfg.User, "user", "", "user that may log on (default: anybody)")
	flag.StringVar(&cfg.Password, "password", "", "the user's password")
	flag.IntVar(&cfg.PageSize, "page-size", 1000, "most rows of an answer without $top")
	flag.IntVar(&cfg.PageSizeTop, "page-size-top", 5000, "most rows of an answer with $top")
	flag.DurationVar(&cfg.SessionTTL, "session-ttl", 0, "life of an unused session (default 30m)")
	flag.BoolVar(&cfg.ChildStamps, "child-stamps", false, "a changed address moves the stamp of the business partner")
	flag.BoolVar(&cfg.ExternalOrders, "external-orders", false, "callers may give orders their numbers")
	flag.BoolVar(&cfg.Repeatability, "repeatability", false, "idempotent services: RequestID and RepeatabilityCreation are honoured")
	flag.StringVar(&cfg.Language, "language", "", "the only logon language that requests may name, and must (default: any)")
	flag.StringVar(&products, "products", "", "JSON file with a list of products: ID, Name, Group, Unit, Price, Stock")
	flag.Int64Var(&cfg.Seed, "seed", 1, "seed of everything random")
	flag.Parse()
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(cfg, products); err != nil {
		fmt.Fprintln(os.Stderr, "s4-sandbox:", err)
		os.Exit(1)
	}
}

func run(cfg sandbox.Config, products string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if products != "" {
		text, err := os.ReadFile(products)
		if err != nil {
			return fmt.Errorf("read the products: %w", err)
		}
		if err := json.Unmarshal(text, &cfg.Products); err != nil {
			return fmt.Errorf("read the products: %w", err)
		}
	}
	s, err := sandbox.New(cfg)
	if err != nil {
		return err
	}
	cfg.Log.Info("sandbox is serving", "url", s.URL())
	return s.Run(ctx)
}
