package console

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// shownVersion is the API version in which records are shown.
const shownVersion = "62.0"

type objectInfo struct {
	Name   string `json:"name"`
	Label  string `json:"label"`
	Prefix string `json:"prefix"`
	Live   int    `json:"live"`
	Custom bool   `json:"custom"`
	Event  bool   `json:"platform_event"`
	Topic  string `json:"topic,omitempty"`
}

type managedInfo struct {
	ID        string `json:"id"`
	Name      string `json:"developer_name"`
	Topic     string `json:"topic"`
	State     string `json:"state"`
	Committed bool   `json:"has_position"`
}

type orgInfo struct {
	ID        string        `json:"id"`
	Now       time.Time     `json:"now"`
	PubSub    string        `json:"pubsub"`
	PubSubTLS string        `json:"pubsub_tls"`
	Objects   []objectInfo  `json:"objects"`
	Channels  []string      `json:"channels"`
	Managed   []managedInfo `json:"managed_subscriptions"`
	// Events counts what went over the bus, Streams the open subscriptions.
	Published         int64 `json:"events_published"`
	DeliveredToday    int   `json:"events_delivered_last_day"`
	PublishedPlatform int   `json:"platform_events_last_hour"`
	Streams           int   `json:"open_streams"`
	// Limits are the allocations as the REST API answers them.
	Limits any `json:"limits"`
}

// org describes the organization.
func (c *Console) org() orgInfo {
	out := orgInfo{
		ID: c.opt.Sessions.Org(), Now: c.opt.Now().UTC(), Objects: []objectInfo{}, Channels: []string{"/data/ChangeEvents"}, Managed: []managedInfo{},
		Published: c.opt.Bus.Published(), DeliveredToday: c.opt.Bus.Delivered(), PublishedPlatform: c.opt.Bus.PublishedPlatform(), Streams: c.opt.Clients(), Limits: c.opt.Limits(),
	}
	out.PubSub, out.PubSubTLS = c.opt.PubSub()
	_ = c.opt.Store.Read(func(v store.View) error { // fn never fails
		for _, o := range c.opt.Schema.Objects {
			info := objectInfo{Name: o.Name, Label: o.Label, Prefix: o.Prefix, Live: v.Live(o), Custom: o.Custom(), Event: o.Event()}
			if l := c.opt.Capture.Layouts[o]; l != nil {
				info.Topic = l.Topic()
			}
			out.Objects = append(out.Objects, info)
		}
		return nil
	})
	for _, ch := range c.opt.Schema.Channels {
		out.Channels = append(out.Channels, ch.Topic())
	}
	for _, m := range c.opt.Managed.All() {
		out.Managed = append(out.Managed, managedInfo{m.ID, m.DeveloperName, m.Topic, m.State, c.opt.Managed.Position(m.ID) != nil})
	}
	return out
}

// records shows the newest rows of one object, as the REST API would.
func (c *Console) records(w http.ResponseWriter, r *http.Request) {
	n, err := limit(r)
	o := c.opt.Schema.Object(r.URL.Query().Get("object"))
	if err == nil && o == nil {
		err = fmt.Errorf("the object %q is unknown", r.URL.Query().Get("object"))
	}
	if err != nil {
		refuse(w, err)
		return
	}
	var rows []*store.Record
	_ = c.opt.Store.Read(func(v store.View) error { // fn never fails
		for row := range v.All(o) {
			rows = append(rows, row)
		}
		return nil
	})
	slices.SortStableFunc(rows, func(a, b *store.Record) int {
		if a.Modified != b.Modified {
			return int(b.Modified - a.Modified)
		}
		return strings.Compare(b.ID, a.ID)
	})
	b := []byte(`[`)
	for i, row := range rows[:min(n, len(rows))] {
		if i > 0 {
			b = append(b, ',')
		}
		b = render.Record(b, shownVersion, row, o.Fields)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	_, _ = w.Write(append(b, ']')) // the client may be gone
}
