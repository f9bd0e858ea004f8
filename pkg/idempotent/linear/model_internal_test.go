package linear

import (
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

// What follows an operation without a reply may tell that it took effect or that it did not, but not both.
func TestModel_LostReply(t *testing.T) {
	t.Parallel()
	claim := input{kind: begin, owner: "a", print: "request", redo: true, takeover: true}
	other := claim
	other.owner = "b"
	answer := input{kind: complete, owner: "a", fence: 1, body: "answer"}
	var (
		lost    = output{lost: true}
		first   = output{outcome: idempotent.Granted, fence: 1}
		second  = output{outcome: idempotent.Granted, fence: 2, recovery: true}
		waits   = output{outcome: idempotent.InProgress, fence: 1}
		replays = output{outcome: idempotent.Replay, fence: 1, body: "answer"}
	)
	type did struct {
		in  input
		out output
	}
	for name, c := range map[string]struct {
		legal bool
		ops   []did
	}{
		"a claim that took effect":          {true, []did{{claim, lost}, {other, waits}, {claim, first}}},
		"a claim that did not":              {true, []did{{claim, lost}, {other, first}}},
		"a claim that was taken over":       {false, []did{{claim, lost}, {other, second}}},
		"a claim that was made and unmade":  {false, []did{{claim, lost}, {other, waits}, {other, first}}},
		"an answer that was stored":         {true, []did{{claim, first}, {answer, lost}, {other, replays}, {answer, output{stale: true}}}},
		"an answer that was not":            {true, []did{{claim, first}, {answer, lost}, {other, waits}, {answer, output{}}}},
		"an answer that came later":         {true, []did{{claim, first}, {answer, lost}, {other, waits}, {other, replays}}},
		"an answer that went again":         {false, []did{{claim, first}, {answer, lost}, {other, replays}, {other, waits}}},
		"an answer that somebody else gave": {false, []did{{claim, first}, {answer, lost}, {other, output{outcome: idempotent.Replay, fence: 1, body: "x"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ops []porcupine.Operation
			for i, op := range c.ops {
				o := porcupine.Operation{Input: op.in, Call: int64(2 * i), Output: op.out, Return: int64(2*i + 1)}
				if op.out.lost {
					o.Return = 100
				}
				ops = append(ops, o)
			}
			require.Equal(t, c.legal, porcupine.CheckOperations(model(), ops))
		})
	}
}
