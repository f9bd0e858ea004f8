package systemsalesforce

import (
	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/changes"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/describe"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// newWatcher returns what serves the feed of changes.
func newWatcher(cfg Salesforce, conn grpc.ClientConnInterface, sessions *auth.Source, crm *rest.Client, m *mapping.Mapping, descriptions *describe.Cache, echo *changes.Echo, tel *telemetry.Telemetry) (*changes.Watcher, error) {
	events, err := pubsub.New(pubsub.Options{Conn: conn, Sessions: sessions, Watchdog: cfg.Watchdog, Meter: tel.Meter, Log: tel.Log})
	if err != nil {
		return nil, err
	}
	return changes.New(changes.Options{
		Feed: events, Records: crm, Sessions: sessions, Mapping: m, Schema: descriptions.Schema, Channel: cfg.Channel,
		ClientName: cfg.ClientName, Echo: echo, Meter: tel.Meter, Log: tel.Log,
	})
}
