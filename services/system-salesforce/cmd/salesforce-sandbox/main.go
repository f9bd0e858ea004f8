// Command salesforce-sandbox runs a local Salesforce until it is interrupted.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "faults" {
		if err := faults(context.Background(), os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "salesforce-sandbox:", err)
			os.Exit(1)
		}
		return
	}
	var cfg sandbox.Config
	var app sandbox.App
	var user, password, schemaFile string
	flag.StringVar(&cfg.HTTPListen, "listen", "127.0.0.1:8080", "address of the REST API")
	flag.StringVar(&cfg.PubSubListen, "pubsub-listen", "127.0.0.1:7011", "address of the Pub/Sub API (plain text gRPC)")
	flag.StringVar(&cfg.Events.TLSListen, "pubsub-tls-listen", "127.0.0.1:7443", "address of the Pub/Sub API (gRPC with TLS)")
	flag.StringVar(&cfg.Events.CertificateFile, "certificate", "", "file to write the TLS certificate to, which clients trust as a root")
	flag.StringVar(&cfg.FaultFile, "faults", "", "JSON file with the fault plan of the start")
	flag.IntVar(&cfg.Events.DeliveryLimit, "event-limit", 0, "events delivered in a rolling day (default: no limit)")
	flag.BoolVar(&cfg.Events.HostileReplayIDs, "hostile-replay-ids", false, "replay ids that are longer than eight bytes and no numbers")
	flag.StringVar(&cfg.BaseURL, "base-url", "", "instance URL in answers (default: as the client addressed the server)")
	flag.StringVar(&app.ClientID, "client-id", "", "consumer key of the app that may log in")
	flag.StringVar(&app.PublicKeyPEM, "public-key", "", "file with the app's RSA public key or certificate (PEM)")
	flag.StringVar(&app.ClientSecret, "client-secret", "", "consumer secret of the app (client credentials run as the user)")
	flag.StringVar(&user, "username", sandbox.DefaultUser, "user that may log in")
	flag.StringVar(&password, "password", "", "the user's password, for logins by SOAP and the password flow (default: none)")
	flag.BoolVar(&cfg.SessionReuse, "session-reuse", false, "hand out the running session of a user and app again")
	flag.StringVar(&schemaFile, "schema", "", "JSON file with more objects, fields, platform events, channels and managed subscriptions")
	flag.IntVar(&cfg.DailyAPILimit, "daily-limit", 100_000, "API calls in a rolling day")
	flag.Int64Var(&cfg.Limits.BulkBatches, "bulk-batches", 0, "batches of both bulk APIs in a rolling day (default 15000)")
	flag.Int64Var(&cfg.Limits.BulkQueryJobs, "bulk-query-jobs", 0, "bulk query jobs in a rolling day (default 10000)")
	flag.BoolVar(&cfg.Limits.HardDelete, "hard-delete", false, "let bulk jobs delete records without the bin")
	flag.IntVar(&cfg.Limits.LongRequests, "long-requests", 0, "requests of 20 seconds and more at the same time (default 25)")
	flag.DurationVar(&cfg.KeepAlive, "keepalive", 0, "longest silence on an event stream (default 1m)")
	flag.DurationVar(&cfg.SessionTTL, "session-ttl", 0, "life of a session (default 2h)")
	flag.BoolVar(&cfg.Strict, "strict", false, "refuse assertions that are not exactly as documented")
	flag.Int64Var(&cfg.Seed, "seed", 1, "seed of everything random")
	flag.Parse()
	cfg.Users = []sandbox.User{{Username: user, Password: password, IntegrationUser: true}}
	app.RunAs = user
	if app.ClientID != "" {
		cfg.Apps = []sandbox.App{app}
	}
	if schemaFile != "" {
		cfg.SchemaFiles = []string{schemaFile}
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "salesforce-sandbox:", err)
		os.Exit(1)
	}
}

// heapFloor is how many bytes of heap the collector sees at least.
const heapFloor = 64 << 20

func run(cfg sandbox.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := sandbox.New(cfg)
	if err != nil {
		return err
	}
	// Never touched, so it takes no memory; but the collector counts it and lets a small org write some tens of MiB between its runs.
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	cfg.Log.Info("sandbox is serving", "http", s.HTTPAddr(), "pubsub", s.PubSubAddr(), "pubsub_tls", s.PubSubTLSAddr())
	return s.Run(ctx)
}
