package mapping

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	t.Parallel()
	o, ok := load(t, custom).Object("subscription")
	require.True(t, ok)
	names := []string{"account", "price", "active", "starts", "renewed", "plan", "note"}
	row := func(texts map[string]string) (map[string]any, *Problem) {
		return o.Table(names, schema()).Row(func(i int) (string, bool) {
			text, ok := texts[names[i]]
			return text, ok
		})
	}
	t.Run("texts become what the fields take, as values of records do", func(t *testing.T) {
		t.Parallel()
		got, problem := row(map[string]string{
			"account": "A-1", "price": "1299.90", "active": "false", "starts": "2026-02-03", "renewed": "2026-02-03T05:05:06.007+01:00", "plan": "Pro",
		})
		require.Nil(t, problem)
		require.Equal(t, map[string]any{
			"Account__r.Selfsame_Id__c": "A-1", "Price__c": json.Number("1299.9"), "Active__c": false, "Starts__c": "2026-02-03",
			"Renewed__c": "2026-02-03T04:05:06.007Z", "Plan__c": "Pro",
		}, got)
	})
	t.Run("an empty text clears, a reference by its id, and what is kept is not written", func(t *testing.T) {
		t.Parallel()
		got, problem := row(map[string]string{"account": "", "note": "", "price": ""})
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Account__c": nil, "Note__c": nil, "Price__c": nil}, got)
	})
	t.Run("a row that was given back is used again and holds nothing of before", func(t *testing.T) {
		t.Parallel()
		table := o.Table([]string{"plan", "note"}, schema())
		first, problem := table.Row(func(int) (string, bool) { return "old", true })
		require.Nil(t, problem)
		table.Reuse(first)
		second, problem := table.Row(func(i int) (string, bool) { return "new", i == 1 })
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Note__c": "new"}, second)
		third, problem := table.Row(func(i int) (string, bool) { return "Pro", i == 0 })
		require.Nil(t, problem)
		require.Equal(t, map[string]any{"Plan__c": "Pro"}, third)
		require.Equal(t, map[string]any{"Note__c": "new"}, second, "it was not given back")
	})
	for field, text := range map[string]string{"price": "twelve", "active": "1", "starts": "2026-02-30", "renewed": "yesterday"} {
		t.Run("refused: "+field, func(t *testing.T) {
			t.Parallel()
			_, problem := row(map[string]string{field: text})
			require.NotNil(t, problem)
			require.Equal(t, ReasonValueKind, problem.Reason)
			require.Equal(t, field, problem.Field)
		})
	}
	t.Run("a field that the org has dropped refuses only who sets it", func(t *testing.T) {
		t.Parallel()
		less := NewSchema(schema().Fields()[:6])
		at := func(set int) func(int) (string, bool) { return func(i int) (string, bool) { return "x", i == set } }
		_, problem := o.Table(names, less).Row(at(5))
		require.Equal(t, ReasonFieldUnknown, problem.Reason)
		_, problem = o.Table(names, less).Row(at(0))
		require.Nil(t, problem)
	})
}
