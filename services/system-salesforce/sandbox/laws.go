package sandbox

import (
	"fmt"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/rules"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// enact sets the rules of the schema files. The users that they name must
// exist.
func enact(laws *rules.Engine, data *store.Store, docs [][]byte) error {
	set, err := rules.Parse(docs...)
	if err != nil {
		return err
	}
	if err := laws.Set(set, rules.Users(data)); err != nil {
		return fmt.Errorf("rules of the schema files: %w", err)
	}
	return nil
}
