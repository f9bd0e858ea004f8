package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/event"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/faults"
)

// EventConfig says how events are made and served. The zero value is as
// documented by the vendor, on a free local port.
type EventConfig struct {
	// TLSListen is the address of the Pub/Sub API with TLS; empty means
	// 127.0.0.1:0. TLSListener is used instead if it is set; the server closes
	// it. The API in plain text is served besides.
	TLSListen   string
	TLSListener net.Listener
	// CertificateFile is where the PEM of the certificate, made at each start
	// for localhost, is written; empty means nowhere.
	CertificateFile string

	// SplitRecords makes an event for each record even if one transaction made
	// the same change to several. Without it they share one event.
	SplitRecords bool
	// MaxBytes is the size above which a change shrinks to a gap event and a
	// published event is refused; 0 means 1 MB.
	MaxBytes int
	// OverflowAfter is how many changes of one transaction have events before
	// GAP_OVERFLOW stands for the rest; 0 means 100,000.
	OverflowAfter int
	// PublishSilence is how long a publish stream may be silent; 0 means 70
	// seconds.
	PublishSilence time.Duration
	// MaxClients is how many subscriptions may be open; 0 means 2,000.
	MaxClients int
	// DeliveryLimit is how many events a rolling day delivers to all clients
	// together; 0 means that they are counted and never refused.
	DeliveryLimit int
	// HostileReplayIDs makes replay ids longer than eight bytes, and no
	// numbers, as the vendor reserves the right to.
	HostileReplayIDs bool
}

func (c EventConfig) withDefaults() EventConfig {
	if c.TLSListen == "" {
		c.TLSListen = "127.0.0.1:0"
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = event.MaxEventBytes
	}
	if c.PublishSilence == 0 {
		c.PublishSilence = 70 * time.Second
	}
	if c.MaxClients == 0 {
		c.MaxClients = 2000
	}
	return c
}

func (c EventConfig) check() error {
	if c.MaxBytes < 0 || c.OverflowAfter < 0 || c.PublishSilence < 0 || c.MaxClients < 0 || c.DeliveryLimit < 0 {
		return errors.New("limits of events cannot be negative")
	}
	return nil
}

// readFaults reads a fault plan from a file; no file is an empty plan.
func readFaults(path string) (faults.Plan, error) {
	var p faults.Plan
	if path == "" {
		return p, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return p, fmt.Errorf("fault plan: %w", err)
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("fault plan %s: %w", path, err)
	}
	return p, nil
}
