package systemsalesforce

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/doctor"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/pubsub/eventbus"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rpc"
)

// topicTimeout bounds the question about one topic.
const topicTimeout = 20 * time.Second

// Diagnose checks an org with a configuration before any service runs with it. It keeps nothing and needs no database.
//
// Its error is about the configuration; what is wrong with the org is in the findings.
func Diagnose(ctx context.Context, cfg Config) (*salesforcev1.DiagnoseResponse, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", name, err)
	}
	m, err := loadMapping(cfg.Salesforce.MappingFile)
	if err != nil {
		return nil, err
	}
	tel := telemetry.Discard()
	client := httpClient(cfg.Salesforce, tel)
	defer client.CloseIdleConnections()
	sessions, err := newSessions(cfg.Salesforce, client)
	if err != nil {
		return nil, err
	}
	crm := rest.New(rest.Options{
		Sessions: sessions, HTTP: client, APIVersion: cfg.Salesforce.APIVersion, ClientName: cfg.Salesforce.ClientName, MaxConcurrent: cfg.Salesforce.MaxConcurrent,
	})
	conn, err := dialPubSub(cfg.Salesforce, tel)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	found := newDoctor(cfg.Salesforce, sessions, crm, conn, m).Examine(priority.With(ctx, priority.Interactive))
	return rpc.Diagnosis(found), nil
}

// newDoctor returns what examines the org.
func newDoctor(cfg Salesforce, sessions *auth.Source, crm *rest.Client, conn grpc.ClientConnInterface, m *mapping.Mapping) *doctor.Doctor {
	return doctor.New(doctor.Options{
		LoginURL: cfg.LoginURL, Session: sessions.Session, CRM: crm, Describe: freshSchema(crm), Topic: topicOf(conn),
		Mapping: m, Watched: []string{"account", "contact"}, Channel: cfg.Channel,
	})
}

// freshSchema describes objects without a memory.
func freshSchema(crm *rest.Client) func(ctx context.Context, sobject string) (*mapping.Schema, error) {
	return func(ctx context.Context, sobject string) (*mapping.Schema, error) {
		return newFreshDescriptions(crm).Schema(ctx, sobject)
	}
}

// topicOf asks the Pub/Sub API about a topic.
func topicOf(conn grpc.ClientConnInterface) func(ctx context.Context, s auth.Session, topic string) (bool, error) {
	return func(ctx context.Context, s auth.Session, topic string) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, topicTimeout)
		defer cancel()
		ctx = metadata.AppendToOutgoingContext(ctx, "accesstoken", s.Token, "instanceurl", s.InstanceURL, "tenantid", s.OrgID)
		info, err := eventbus.NewPubSubClient(conn).GetTopic(ctx, &eventbus.TopicRequest{TopicName: topic})
		if err != nil {
			return false, fault.FromStatus(err)
		}
		return info.GetCanSubscribe(), nil
	}
}
