package feed_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/selfsame-io/selfsame/pkg/priority"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/feed"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
)

// listening notes how urgent its calls are.
type listening struct {
	source.System
	scans   map[priority.Level]int
	streams []string
}

func (l *listening) List(ctx context.Context, obj golden.Object, token string) ([]source.Record, string, error) {
	l.scans[priority.From(ctx)]++
	return l.System.List(ctx, obj, token)
}

func (l *listening) Watch(ctx context.Context, token string, fn func(source.Batch) error) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	l.streams = append(l.streams, md.Get(priority.Key)...)
	return l.System.Watch(ctx, token, fn)
}

func TestPriority(t *testing.T) {
	w := setup(t)
	w.Settle()
	before := state(t, w)
	request(t, w, "salesforce")
	sys := &listening{System: w.SF, scans: map[priority.Level]int{}}
	f, err := feed.New(feed.Deps{Store: w.Store, Intake: w.Intake, System: sys, Owner: before.Owner, Now: w.Clock.Now, Telemetry: telemetry.Discard()})
	require.NoError(t, err)
	acquire(t, f)
	for step(t, f) {
	}
	require.NoError(t, f.Watch(t.Context(), func(source.Batch) bool { return true }))
	require.Positive(t, sys.scans[priority.Bulk], "reading everything leaves the allowance to what keeps records agreeing")
	require.Len(t, sys.scans, 1)
	require.Equal(t, []string{"sync"}, sys.streams)
}
