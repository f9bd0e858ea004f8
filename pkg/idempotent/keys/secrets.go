package keys

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// ParseRing reads the keys that encrypt stored answers, as an operator writes them: ID:BASE64 with 32 bytes each, separated
// by commas; the first encrypts, the others only read. An empty text is no ring: answers are kept in clear.
func ParseRing(text string) (*idempotent.Keyring, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no ring is what nil means to idempotent.Options
	}
	var ring []idempotent.MasterKey
	for i, part := range strings.Split(text, ",") {
		id, encoded, ok := strings.Cut(strings.TrimSpace(part), ":")
		secret, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || id == "" || err != nil || len(secret) != 32 {
			return nil, fmt.Errorf("key %d is not ID:BASE64 with 32 bytes", i+1) // and never what it is
		}
		ring = append(ring, idempotent.MasterKey{ID: id, Secret: secret})
	}
	return idempotent.NewKeyring(ring...)
}

// ParseSecrets reads the secrets that were used before, separated by commas, each of at least 16 bytes.
func ParseSecrets(text string) ([][]byte, error) {
	if text == "" {
		return nil, nil
	}
	var out [][]byte
	for part := range strings.SplitSeq(text, ",") {
		if len(part) < 16 {
			return nil, errors.New("a secret has less than 16 bytes")
		}
		out = append(out, []byte(part))
	}
	return out, nil
}

// Check compares what a service is about to serve with its store of keys: a method that changes something without a
// policy, or a policy that demands more than the store gives, is an error, and so is a method whose contract says that it looks
// for the effect of an earlier attempt and that is not among probes. Nothing is served by it.
func Check(store idempotent.Store, register func(grpc.ServiceRegistrar), probes ...string) error {
	return idempotent.Check(store, served(register), probes...)
}

// Apart returns the methods of what a service is about to serve whose keys are claimed apart from the transaction of their
// effect, because the store is not in its database.
func Apart(store idempotent.Store, register func(grpc.ServiceRegistrar)) []string {
	return idempotent.Apart(store, served(register))
}

func served(register func(grpc.ServiceRegistrar)) map[string]grpc.ServiceInfo {
	probe := grpc.NewServer()
	defer probe.Stop()
	register(probe)
	return probe.GetServiceInfo()
}
