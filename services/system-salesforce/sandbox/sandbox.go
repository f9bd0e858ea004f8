// Package sandbox is a local Salesforce to integrate against: OAuth, the REST
// API with SOQL and collections, and the Pub/Sub API with change events that
// the writes cause.
//
// The problem: an integration can be trusted only if it was seen to survive
// what Salesforce does, and the real one can neither be broken on request nor
// run in a test. The sandbox speaks the same bytes, to any client, and fails in
// the same ways when told to over a control plane.
//
// Invariant: it shares no Go types with the client of this module. Both are
// held to the protocol only.
//
// It keeps everything in memory, checks no permissions and runs no triggers.
// README.md lists what is served and what is not.
package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/bulk"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/console"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/faults"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/managed"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/rules"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Server is a sandbox. Make it with New and start it with Run.
type Server struct {
	cfg      Config
	httpL    net.Listener
	pubsubL  net.Listener
	rest     *rest.Server
	pubsub   *pubsub.Server
	bus      *event.Bus
	bulk     *bulk.Service
	clock    *virtualClock
	handler  http.Handler
	secureL  net.Listener
	cert     tls.Certificate
	certPEM  []byte
	httpAddr string
	grpcAddr string
}

// New checks the configuration, builds the organization and binds both
// listeners. Run must follow, or the listeners stay bound.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sandbox configuration: %w", err)
	}
	s := &Server{cfg: cfg, clock: &virtualClock{base: cfg.Now}}
	s.cfg.Now = s.clock.now
	if s.cert, s.certPEM, err = selfSigned(); err != nil {
		return nil, err
	}
	if err := writeCertificate(cfg.Events.CertificateFile, s.certPEM); err != nil {
		return nil, err
	}
	if err := s.build(); err != nil {
		return nil, err
	}
	if s.httpL, err = listen(cfg.HTTPListener, cfg.HTTPListen); err != nil {
		return nil, err
	}
	if s.pubsubL, err = listen(cfg.PubSubListener, cfg.PubSubListen); err != nil {
		return nil, errors.Join(err, s.httpL.Close())
	}
	if s.secureL, err = listen(cfg.Events.TLSListener, cfg.Events.TLSListen); err != nil {
		return nil, errors.Join(err, s.httpL.Close(), s.pubsubL.Close())
	}
	s.httpAddr, s.grpcAddr = s.httpL.Addr().String(), s.pubsubL.Addr().String()
	return s, nil
}

func listen(given net.Listener, addr string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func (s *Server) build() error {
	cfg := s.cfg
	docs, err := cfg.documents()
	if err != nil {
		return err
	}
	model, err := schema.Load(docs...)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	keys, err := cfg.keys()
	if err != nil {
		return err
	}
	trouble := faults.New(cfg.Seed, cfg.Now)
	s.bus = event.NewBus(event.BusOptions{
		Now: cfg.Now, Seed: cfg.Seed, Retention: cfg.EventRetention, Keep: cfg.MaxEvents, Disturb: trouble.Events,
		Each: func(e *event.Event) int { return trouble.Copies(e.Layout.Object.Name, e.Kind, e.Records) }, Hostile: cfg.Events.HostileReplayIDs,
	})
	capture, err := event.NewCapture(event.CaptureOptions{
		Schema: model, Bus: s.bus, Seed: cfg.Seed, Log: cfg.Log,
		Split: cfg.Events.SplitRecords, MaxBytes: cfg.Events.MaxBytes, OverflowAfter: cfg.Events.OverflowAfter,
		Gap: func(object, kind, id string) bool {
			return !trouble.Idle() && trouble.Fires(faults.Gap, faults.Occasion{Object: object, ChangeType: kind, Records: []string{id}})
		},
	})
	if err != nil {
		return err
	}
	laws := rules.New(model)
	data := store.New(store.Options{Schema: model, Rules: laws, Now: cfg.Now, OnCommit: capture.Commit, LockRow: func(r *store.Record) bool {
		return !trouble.Idle() && trouble.LockRecord(r.Object.Name, r.ID, r.Parents)
	}})
	subscriptions, err := managedSubscriptions(model)
	if err != nil {
		return err
	}
	users := cfg.accounts()
	if err := bootstrap(data, model, cfg.OrgID, users); err != nil {
		return err
	}
	if err := enact(laws, data, docs); err != nil {
		return err
	}
	sessions := auth.NewSessions(cfg.OrgID, cfg.SessionTTL, cfg.Now)
	sessions.Reuse = cfg.SessionReuse
	quotas := cfg.Limits.quotas(cfg.Now)
	s.bulk = bulk.New(bulk.Options{
		Schema: model, Store: data, Batches: quotas.BulkBatches, QueryJobs: quotas.BulkQueryJobs, Rows: quotas.BulkRows,
		FileBytes: quotas.BulkQueryBytes, HardDelete: cfg.Limits.HardDelete, Seed: cfg.Seed, Now: cfg.Now, Log: cfg.Log,
	})
	s.rest = rest.New(rest.Options{
		Bulk: s.bulk, Quotas: quotas, EventDeliveries: cfg.Events.DeliveryLimit, ReplicationIDs: cfg.Limits.ReplicationIDs, LongRequests: cfg.Limits.LongRequests, LongRequest: cfg.Limits.LongRequest,
		BaseURL: cfg.BaseURL, Schema: model, Store: data, Sessions: sessions, Faults: trouble, Bus: s.bus, Rules: laws, Managed: subscriptions,
		Verifier:   &auth.Verifier{Keys: keys, Apps: cfg.clients(), Users: users, Strict: cfg.Strict, Now: cfg.Now},
		DailyLimit: cfg.DailyAPILimit, CollectionsClient: !cfg.IgnoreCollectionsClient, Now: cfg.Now, Log: cfg.Log,
	})
	s.pubsub = pubsub.New(pubsub.Options{
		Sessions: sessions, Bus: s.bus, Schema: model, Layouts: capture.Layouts, Managed: subscriptions, Faults: trouble, KeepAlive: cfg.KeepAlive,
		PublishSilence: cfg.Events.PublishSilence, MaxClients: cfg.Events.MaxClients, MaxEventBytes: cfg.Events.MaxBytes,
		DeliveryLimit: cfg.Events.DeliveryLimit, Rights: s.rest.TopicRights, Down: trouble.Down, Now: cfg.Now, Log: cfg.Log,
	})
	control := console.New(console.Options{
		Schema: model, Store: data, Sessions: sessions, Bus: s.bus, Capture: capture, Managed: subscriptions, Faults: trouble,
		Limits: s.rest.Limits, Clients: s.pubsub.Clients, PubSub: func() (string, string) { return s.PubSubAddr(), s.PubSubTLSAddr() },
		Now: cfg.Now, Advance: s.clock.advance, Certificate: s.certPEM, User: users[0].ID, Next: s.rest,
	})
	s.handler = dated(cfg.Now, trouble.Wrap(control, sessions.Revoke))
	plan, err := readFaults(cfg.FaultFile)
	if err != nil {
		return err
	}
	if err := control.Apply(plan); err != nil {
		return fmt.Errorf("fault plan: %w", err)
	}
	return nil
}

// managedSubscriptions are those of the schema files.
func managedSubscriptions(model *schema.Schema) (*managed.Registry, error) {
	out := &managed.Registry{}
	for _, m := range model.Managed {
		_, err := out.Add(managed.Subscription{
			DeveloperName: m.DeveloperName, Topic: m.TopicName, State: m.State, DefaultReplay: m.DefaultReplay, ErrorRecovery: m.ErrorRecoveryReplay,
		})
		if err != nil {
			return nil, fmt.Errorf("managed subscription %s: %w", m.DeveloperName, err)
		}
	}
	return out, nil
}

// bootstrap stores the rows that exist in every organization.
func bootstrap(data *store.Store, model *schema.Schema, org string, users []auth.User) error {
	err := data.Seed(model.Object("Organization"), org, map[string]any{
		"Name": "Selfsame Sandbox", "InstanceName": "LOCAL", "IsSandbox": true, "OrganizationType": "Developer Edition",
		"DefaultLocaleSidKey": "en_US", "LanguageLocaleKey": "en_US", "TimeZoneSidKey": "GMT",
	})
	for _, u := range users {
		row := map[string]any{"Username": u.Username, "LastName": u.Name, "IsActive": u.Refusal != "inactive", "UserType": "Standard"}
		if u.Email != "" {
			row["Email"] = u.Email
		}
		err = errors.Join(err, data.Seed(model.Object("User"), u.ID, row))
	}
	if err != nil {
		return fmt.Errorf("bootstrap rows: %w", err)
	}
	return nil
}

// HTTPAddr is the host and port of the REST API.
func (s *Server) HTTPAddr() string { return s.httpAddr }

// PubSubAddr is the host and port of the Pub/Sub API, in plain text.
func (s *Server) PubSubAddr() string { return s.grpcAddr }

// PubSubTLSAddr is the host and port of the Pub/Sub API with TLS.
func (s *Server) PubSubTLSAddr() string { return s.secureL.Addr().String() }

// CertificatePEM is the certificate that PubSubTLSAddr shows, to be trusted as
// a root.
func (s *Server) CertificatePEM() []byte { return s.certPEM }

// stopTime is how long running requests may take to end.
const stopTime = 3 * time.Second

// Run serves until the context ends, then stops: running requests finish, event
// streams are told that the service is unavailable. It returns nil after a stop
// by the context.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	h := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	g.Go(func() error {
		if err := h.Serve(s.httpL); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve http: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		if err := h.Shutdown(stop); err != nil {
			return h.Close()
		}
		return nil
	})
	g.Go(func() error { return s.pubsub.Run(ctx, s.pubsubL, s.secureL, s.cert) })
	g.Go(func() error { return s.bus.Run(ctx) })
	g.Go(func() error { return s.bulk.Run(ctx) })
	return g.Wait()
}
