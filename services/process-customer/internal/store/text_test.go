package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func TestText(t *testing.T) {
	t.Parallel()
	ref := golden.Ref{System: "erp", Object: golden.Customer, RecordID: "1"}

	t.Run("values and claims survive, whatever they hold, and are JSON", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			text := rapid.OneOf(rapid.StringN(0, 20, -1), rapid.StringOf(rapid.SampledFrom([]rune("a\"\\\n\u2028é{}[]:,"))))
			values := golden.Values(rapid.MapOf(text, text).Draw(t, "values"))
			got, err := valuesOf(string(appendValues(nil, values)))
			require.NoError(t, err)
			require.Equal(t, values, got)
			var plain golden.Values
			require.NoError(t, json.Unmarshal(appendValues(nil, values), &plain))
			require.Equal(t, values, plain)

			claims := map[string][]golden.Claim{}
			for _, field := range rapid.SliceOfDistinct(text, rapid.ID).Draw(t, "fields") {
				for range rapid.IntRange(1, 2).Draw(t, "n") {
					claims[field] = append(claims[field], golden.Claim{
						Field: field, Value: text.Draw(t, "value"), Ref: ref, Version: rapid.Int64().Draw(t, "version"),
						EventTime: time.UnixMicro(rapid.Int64Range(1, 1<<50).Draw(t, "time")).UTC(), ChangeID: text.Draw(t, "change"),
						Over: text.Draw(t, "over"), Hold: rapid.SampledFrom([]golden.Hold{"", golden.HoldUntilChange, golden.HoldAlways}).Draw(t, "hold"),
						Received: rapid.SampledFrom([]time.Time{{}, time.UnixMicro(1_700_000_000_000_001).UTC()}).Draw(t, "received"),
					})
				}
			}
			back, err := claimsOf(ref, string(appendClaims(nil, claims)))
			require.NoError(t, err)
			require.Equal(t, claims, back)
		})
	})
	t.Run("text in another layout is read too", func(t *testing.T) {
		t.Parallel()
		got, err := valuesOf(` { "name" : "A" } `)
		require.NoError(t, err)
		require.Equal(t, golden.Values{golden.Name: "A"}, got)
		claims, err := claimsOf(ref, `{"name": [{"c": "x", "v": "A", "unknown": 1}]}`)
		require.NoError(t, err)
		require.Equal(t, []golden.Claim{{Field: golden.Name, Value: "A", Ref: ref, ChangeID: "x"}}, claims[golden.Name])
	})
	t.Run("what is no JSON is an error", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{"", "{", `{"a"}`, `{"a":"b`, `{"a":"\`, `{"a":"b"}x`, `[1]`} {
			_, err := valuesOf(text)
			require.Error(t, err, text)
			_, err = claimsOf(ref, text)
			require.Error(t, err, text)
		}
	})
}
