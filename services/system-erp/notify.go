package systemerp

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/selfsame-io/selfsame/pkg/conf"
	"github.com/selfsame-io/selfsame/pkg/serve"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
)

// Notify is where a foreign ERP says that something has changed there, so that it is read at once and not at the next poll.
// Nothing it says is believed: a notification is a reason to look, never a change. One that is lost costs the time until the
// next poll, one that is made up costs a look.
type Notify struct {
	// Listen is the address of the HTTP server for POST /changes; empty for none.
	Listen string `conf:"listen" help:"address where a foreign ERP says by POST /changes that something has changed; empty for none"`
	// Secret is what a notification carries: as bearer token, or as password of the basic authentication, under any name.
	Secret conf.Secret `conf:"secret" help:"bearer token, or password of basic authentication, that notifications carry; 16 bytes or more"`
	// TLS protects the server.
	TLS serve.TLS `conf:"tls"`
}

func (n Notify) validate(embedded bool) error {
	switch {
	case n.Listen == "":
		return nil
	case embedded:
		return errors.New("listen: the embedded back end sees its changes as they commit")
	case len(n.Secret) < 16:
		return errors.New("secret: want at least 16 bytes")
	}
	return n.TLS.Validate()
}

// maxNotification bounds what is read of a notification before it is answered; it is thrown away.
const maxNotification = 256 << 10

// notifyServer returns the server for notifications; none when the operator wants none.
func notifyServer(cfg Notify, poke func(), meter metric.Meter) ([]serve.HTTP, error) {
	if cfg.Listen == "" || poke == nil {
		return nil, nil
	}
	heard, err := meter.Int64Counter("selfsame.erp.backend.notifications",
		metric.WithDescription("Notifications of the foreign ERP, by outcome: accepted or refused."))
	if err != nil {
		return nil, fmt.Errorf("metrics of notifications: %w", err)
	}
	n := &notifications{secret: sha256.Sum256([]byte(cfg.Secret.Reveal())), poke: poke, heard: heard}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /changes", n.changed)
	mux.HandleFunc("OPTIONS /changes", handshake)
	return []serve.HTTP{{Name: "notify", Listen: cfg.Listen, Handler: mux, TLS: cfg.TLS}}, nil
}

type notifications struct {
	secret [sha256.Size]byte
	poke   func()
	heard  metric.Int64Counter
}

// changed has changes looked for and answers at once: whoever notifies is not made to wait for it.
func (n *notifications) changed(w http.ResponseWriter, r *http.Request) {
	outcome := "accepted"
	if !n.knows(r) {
		outcome = "refused"
	}
	n.heard.Add(r.Context(), 1, metric.WithAttributes(attribute.String(telemetry.KeyOutcome, outcome)))
	if outcome == "refused" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the secret of the notification is missing or another one", http.StatusUnauthorized)
		return
	}
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxNotification)) // what it says is not looked at
	n.poke()
	w.WriteHeader(http.StatusNoContent)
}

// knows tells whether a request carries the secret.
func (n *notifications) knows(r *http.Request) bool {
	said, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, said, ok = r.BasicAuth()
	}
	sum := sha256.Sum256([]byte(said))
	return ok && subtle.ConstantTimeCompare(sum[:], n.secret[:]) == 1
}

// handshake answers the question of a webhook whether it may send here, by the rules of CloudEvents ("abuse protection"). It
// gives nothing away: what is sent is refused without the secret.
func handshake(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("WebHook-Request-Origin")
	if origin == "" {
		http.Error(w, "a webhook asks with WebHook-Request-Origin", http.StatusBadRequest)
		return
	}
	w.Header().Set("WebHook-Allowed-Origin", origin)
	w.Header().Set("WebHook-Allowed-Rate", "*")
	w.Header().Set("Allow", "POST")
	w.WriteHeader(http.StatusOK)
}
