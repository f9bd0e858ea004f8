package systemsalesforce

import (
	"context"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/changes"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// newWatcher returns what serves the feed of changes.
func newWatcher(cfg Salesforce, conn grpc.ClientConnInterface, sessions *auth.Source, crm *rest.Client, m *mapping.Mapping, tel *telemetry.Telemetry) (*changes.Watcher, error) {
	events, err := pubsub.New(pubsub.Options{Conn: conn, Sessions: sessions, Watchdog: cfg.Watchdog, Meter: tel.Meter, Log: tel.Log})
	if err != nil {
		return nil, err
	}
	return changes.New(changes.Options{
		Feed: events, Records: crm, Sessions: sessions, Mapping: m, Schema: schemaOf(crm), Channel: cfg.Channel,
		ClientName: cfg.ClientName, Meter: tel.Meter, Log: tel.Log,
	})
}

// schemaOf returns what the org says about an object.
func schemaOf(crm *rest.Client) func(context.Context, string) (*mapping.Schema, error) {
	return func(ctx context.Context, sobject string) (*mapping.Schema, error) {
		fields, err := crm.Describe(ctx, sobject)
		if err != nil {
			return nil, err
		}
		described := make([]mapping.Described, len(fields))
		for i, f := range fields {
			described[i] = mapping.Described{Name: f.Name, Type: f.Type, Length: f.Length, Writable: f.Createable && f.Updateable, ExternalID: f.ExternalID}
		}
		return mapping.NewSchema(described), nil
	}
}
