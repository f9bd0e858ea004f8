package rest

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCollection holds the encoding of collections against that of encoding/json.
func FuzzCollection(f *testing.F) {
	f.Add("Name", "plain", "Account.Key__c", 1.5, true)
	f.Add("Näme", "quote \" back \\ <tag> & \u2028 \x00 \xff", "A.B.C", -1.5, false)
	f.Add("", "", ".", 1e300, true)
	f.Fuzz(func(t *testing.T, name, text, other string, number float64, flag bool) {
		records := []Record{
			{name: text, "Number": number, "Flag": flag, "None": nil, "Exact": json.Number("1.10")},
			{other: text, "List": []any{text, flag}},
			{},
		}
		rows := make([]Record, len(records))
		for i, r := range records {
			row := r.nested()
			row["attributes"] = map[string]string{"type": "Account"}
			rows[i] = row
		}
		want, err := json.Marshal(map[string]any{"allOrNone": false, "records": rows})
		if err != nil {
			t.Skip("encoding/json cannot do it either")
		}
		got, err := collection("Account", records)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(got))
	})
}

func TestCollectionRefusesWhatIsNoValue(t *testing.T) {
	t.Parallel()
	_, err := collection("Account", []Record{{"Name": make(chan int)}})
	require.Error(t, err)
}
