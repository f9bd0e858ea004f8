package odata

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzParseBatch(f *testing.F) {
	f.Add("multipart/mixed; boundary=b", []byte("--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}\r\n--b--"))
	f.Add("multipart/mixed; boundary=b", []byte("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 201 Created\r\n\r\n{\"d\":{}}\r\n--c--\r\n--b--"))
	f.Add("text/plain", []byte("no"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		replies, _ := parseBatch(kind, body)
		for _, r := range replies {
			for _, p := range []Part{{{Method: "GET"}}, {{Method: "POST"}}, {{Method: "POST"}, {Method: "PATCH"}}} {
				a := r.of(p)
				require.True(t, a.Err != nil || len(a.Answers) == len(p), "each part has an answer or an error")
			}
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`<Edmx><DataServices><Schema Namespace="A"><EntityType Name="T"><Property Name="P" Type="Edm.String" MaxLength="4"/></EntityType><EntityContainer><EntitySet Name="S" EntityType="A.T"/></EntityContainer></Schema></DataServices></Edmx>`))
	f.Add([]byte(`<Edmx/>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMetadata(text)
		if err != nil {
			return
		}
		for name, s := range m.Sets {
			require.NotNil(t, s)
			require.True(t, m.Has(name))
			for n, field := range s.Fields {
				require.True(t, m.Has(name, n))
				require.GreaterOrEqual(t, field.MaxLength, 0)
			}
		}
	})
}

func FuzzDates(f *testing.F) {
	for _, s := range []string{"/Date(1600000000000)/", "/Date(-1+0000)/", "/Date(253402214400000)/", "PT20H37M47S", "PT", "/Date()/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := ParseDate(s); err == nil {
			again, err := ParseDate(DateJSON(at))
			require.NoError(t, err)
			require.True(t, at.Equal(again))
			require.LessOrEqual(t, at.Year(), 9999)
		}
		if d, err := ParseClock(s); err == nil {
			require.GreaterOrEqual(t, d, time.Duration(0))
			require.LessOrEqual(t, d, 24*time.Hour)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(400, []byte(`{"error":{"code":"A/1","message":{"value":"x"},"innererror":{"transactionid":"1","errordetails":[{"target":"/A/B"}]}}}`))
	f.Add(400, []byte(`{"error":{"code":"400","message":"x","innererror":{"errordetails":[{"message":{"value":"y"}}]}}}`))
	f.Add(200, []byte(`{"d":{"results":[{"a":1}],"__next":"http://x/y?$skiptoken=1"}}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		p := ParseProblem(status, body)
		_, _ = p.Fields(), p.Locked()
		rows, _, err := ParsePage(body)
		if err == nil {
			for _, r := range rows {
				require.True(t, json.Valid(r))
			}
		}
	})
}
