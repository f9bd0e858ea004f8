package systemsalesforce_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

func TestWatch_Objects(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	s := startReady(t, config(t, c))
	t.Run("any object of the mapping can be watched", func(t *testing.T) {
		t.Parallel()
		w := s.watch(t, "", "lead", "case")
		id := c.create("Lead", map[string]any{"LastName": "Lovelace", "Company": "Analytical Engines", "Email": "ada@example.com"})
		got := w.changes(1)[0]
		require.Equal(t, id, got.GetRecordId())
		require.Equal(t, salesforcev1.Object_OBJECT_OTHER, got.GetObject())
		require.Equal(t, "lead", got.GetObjectName())
		require.Equal(t, "Lovelace", got.GetRecord().GetFields()["last_name"].GetText())
		c.do("PATCH", "/services/data/v66.0/sobjects/Lead/"+id, map[string]any{"Email": "countess@example.com"})
		got = w.changes(1)[0]
		require.Equal(t, []string{"email"}, got.GetChangedFields())
		require.Equal(t, "countess@example.com", got.GetRecord().GetFields()["email"].GetText())
	})
	t.Run("a token is good for the objects it was made for", func(t *testing.T) {
		t.Parallel()
		token := s.watch(t, "", "lead").token
		require.Equal(t, fault.ReasonResumeTokenInvalid, fault.ReasonOf(s.open(t, token, "case").end()))
	})
	t.Run("an object that is not mapped is refused", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "OBJECT_NOT_MAPPED", fault.ReasonOf(s.open(t, "", "nonsense").end()))
	})
	t.Run("an overflow is read again, and the metrics tell", func(t *testing.T) {
		t.Parallel()
		w := s.watch(t, "")
		id := c.create("Account", map[string]any{"Name": "Before the overflow"})
		w.changes(1)
		c.do("POST", "/__sandbox__/events", map[string]any{"object": "Account", "change_type": "GAP_OVERFLOW"})
		found, done := false, false
		for !found || !done {
			m := w.next()
			for _, ch := range m.GetChanges() {
				found = found || ch.GetRecordId() == id
			}
			for _, r := range m.GetLost() {
				require.Equal(t, salesforcev1.LossCause_LOSS_CAUSE_OVERFLOW, r.GetCause())
				done = done || r.GetDone()
			}
		}
		s.tells(t,
			`selfsame_cdc_ranges_total{cause="overflow",object="account",state="complete"} 1`, `selfsame_cdc_refilled_total{cause="overflow",object="account"} `,
			`selfsame_cdc_retention_left_seconds{object="account"} 25`, `selfsame_cdc_ranges_open{object="account"} 0`, `selfsame_cdc_gaps_total{kind="gap_overflow",object="account"} 1`,
		)
	})
}
