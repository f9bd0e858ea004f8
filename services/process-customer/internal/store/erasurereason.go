package store

import "context"

// ErasureSystem stands for the system in the event that says why somebody is to be forgotten: what a person wrote there is sealed
// under a key of that erasure's own.
const ErasureSystem = "erasure"

// ForgetReason destroys the key of what a person wrote about an erasure; the event itself stays as it is.
func (t *Tx) ForgetReason(ctx context.Context, erasureID string) error {
	_, err := t.exec(ctx, "destroy the key of a reason", "DELETE FROM subject_key WHERE subject = $1", subject("", ErasureSystem, erasureID))
	return err
}
