package event

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Capture turns commits into events on a bus.
type Capture struct {
	// Layouts are the event forms by object.
	Layouts map[*schema.Object]*Layout

	bus    *Bus
	log    *slog.Logger
	seed   int64
	number atomic.Int64
}

// firstCommit starts commit numbers above 2^53, where they cannot be kept in a
// floating point number, as in organizations of some age.
const firstCommit = 1<<53 + 1

// NewCapture prepares the layouts of every object that can change.
func NewCapture(s *schema.Schema, bus *Bus, seed int64, log *slog.Logger) (*Capture, error) {
	c := &Capture{Layouts: map[*schema.Object]*Layout{}, bus: bus, log: log, seed: seed}
	c.number.Store(firstCommit)
	for _, o := range s.Objects {
		if o.ReadOnly {
			continue
		}
		l, err := NewLayout(o)
		if err != nil {
			return nil, err
		}
		c.Layouts[o] = l
	}
	return c, nil
}

// Commit publishes the events of one transaction.
func (c *Capture) Commit(m store.Commit) {
	number := c.number.Add(1)
	shared := Commit{Time: m.Time, User: m.User, Origin: m.Origin, Number: number, Key: c.key(number)}
	events := make([]*Event, 0, len(m.Changes))
	for _, ch := range m.Changes {
		l := c.Layouts[ch.New.Object]
		if l == nil {
			continue
		}
		payload, err := l.Encode(shared, len(events)+1, ch)
		if err != nil {
			c.log.Error("change event could not be encoded", "object", l.object.Name, "record_id", ch.New.ID, "error", err)
			continue
		}
		id := md5.Sum(binary.BigEndian.AppendUint32([]byte(shared.Key), uint32(len(events)+1)))
		events = append(events, &Event{ID: id, Layout: l, Kind: kindName(ch.Kind), RecordID: ch.New.ID, Tx: shared.Key, Payload: payload})
	}
	c.bus.Publish(events)
}

// key is a transaction key: unlike each other, the same in a repeated run.
func (c *Capture) key(number int64) string {
	sum := md5.Sum(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(c.seed)), uint64(number)))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:])
}
