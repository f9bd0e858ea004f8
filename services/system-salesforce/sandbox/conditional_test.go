package sandbox_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnswersAreCompressedOnRequest(t *testing.T) {
	t.Parallel()
	o := setup(t)
	plain := o.want(200, "GET", v62+"/sobjects/Account/describe", "", "Accept-Encoding", "identity")
	require.Empty(t, plain.header.Get("Content-Encoding"))
	for accept, kind := range map[string]string{"gzip": "gzip", "gzip, deflate, br": "gzip", "deflate, gzip;q=0": "deflate", "*": "gzip", "br": "", "gzip;q=0": ""} {
		r := o.want(200, "GET", v62+"/sobjects/Account/describe", "", "Accept-Encoding", accept)
		require.Equal(t, kind, r.header.Get("Content-Encoding"), accept)
		var in io.Reader = strings.NewReader(r.text)
		var err error
		switch kind {
		case "gzip":
			in, err = gzip.NewReader(in)
		case "deflate":
			in, err = zlib.NewReader(in)
		}
		require.NoError(t, err)
		b, err := io.ReadAll(in)
		require.NoError(t, err)
		require.Equal(t, plain.text, string(b), accept)
	}
	require.Empty(t, o.want(200, "GET", v62+"/sobjects/Account", "", "Accept-Encoding", "gzip").header.Get("Content-Encoding"), "small answers stay as they are")
}

func TestRequestsMayBeCompressed(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for name, open := range map[string]func(io.Writer) io.WriteCloser{
		"gzip":     func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"deflate":  func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"Deflate ": func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, 9); return z },
	} {
		var b bytes.Buffer
		z := open(&b)
		_, err := io.WriteString(z, `{"Name":"packed"}`)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		o.want(201, "POST", v62+"/sobjects/Account", b.String(), "Content-Encoding", name)
	}
	require.Equal(t, []string{"packed", "packed", "packed"}, o.names("SELECT Name FROM Account"))
	require.Equal(t, "UNSUPPORTED_MEDIA_TYPE", o.want(415, "POST", v62+"/sobjects/Account", `x`, "Content-Encoding", "br").code())
	require.Equal(t, "JSON_PARSER_ERROR", o.want(400, "POST", v62+"/sobjects/Account", `{"Name":"A"}`, "Content-Encoding", "gzip").code())
}

func TestEntityTagsOfAccounts(t *testing.T) {
	t.Parallel()
	o := setup(t)
	path := v62 + "/sobjects/Account/" + o.account(`{"Name":"A"}`)
	tag := func(headers ...string) string {
		return o.want(200, "GET", path, "", headers...).header.Get("ETag")
	}
	first := tag("Accept-Encoding", "identity")
	require.Regexp(t, `^"[A-Za-z0-9+/]{27}="$`, first)
	packed := tag("Accept-Encoding", "gzip")
	require.Equal(t, strings.TrimSuffix(first, `"`)+`-gzip"`, packed)
	require.Equal(t, first, o.want(200, "GET", path+"?fields=Name", "", "Accept-Encoding", "identity").header.Get("ETag"))

	require.Empty(t, o.want(304, "GET", path, "", "If-None-Match", first).text)
	require.Equal(t, first, o.want(304, "GET", path, "", "If-None-Match", `"x", `+packed).header.Get("ETag"))
	o.want(200, "GET", path, "", "If-None-Match", `"x"`)
	o.want(200, "GET", path, "", "If-None-Match", `not a tag`)
	o.want(412, "GET", path, "", "If-Match", `"x"`)

	o.want(204, "PATCH", path, `{"Name":"B"}`, "If-Match", `"x", `+packed)
	require.NotEqual(t, first, tag(), "a change within the same second")
	require.Equal(t, "PRECONDITION_FAILED", o.want(412, "PATCH", path, `{"Name":"C"}`, "If-Match", first).code())
	second := tag()
	o.want(412, "PATCH", path, `{"Name":"C"}`, "If-None-Match", second)
	o.want(412, "PATCH", path, `{"Name":"C"}`, "If-None-Match", `*`)
	o.want(204, "PATCH", path, `{"Name":"D"}`, "If-None-Match", first)
	o.want(204, "PATCH", path, `{"Name":"E"}`, "If-Match", `*`)
	for _, name := range []string{"If-Match", "If-None-Match", "If-Unmodified-Since"} {
		o.want(400, "PATCH", path, `{"Name":"F"}`, name, "junk")
	}
	require.Equal(t, []string{"E"}, o.names("SELECT Name FROM Account"))
	o.want(204, "DELETE", path, "", "If-Match", `"x"`) // deletions know no conditions
}

func TestOtherRowsHaveNoEntityTags(t *testing.T) {
	t.Parallel()
	o := setup(t)
	path := v62 + "/sobjects/Contact/" + o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"A"}`).id()
	require.Empty(t, o.want(200, "GET", path, "").header.Get("ETag"))
	o.want(204, "PATCH", path, `{"LastName":"B"}`, "If-Match", `"x"`)
	o.want(204, "PATCH", path, `{"LastName":"C"}`, "If-Match", `junk`)
	o.want(200, "GET", path, "", "If-None-Match", `*`)
}

func TestModificationTimesAsConditions(t *testing.T) {
	t.Parallel()
	o := setup(t)
	path := v62 + "/sobjects/Contact/" + o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"A"}`).id()
	at := o.want(200, "GET", path, "").header.Get("Last-Modified")
	require.Equal(t, "Thu, 14 May 2026 10:00:00 GMT", at)
	before := o.clock.now().Add(-time.Second).UTC().Format(http.TimeFormat)
	require.Empty(t, o.want(304, "GET", path, "", "If-Modified-Since", at).text)
	o.want(200, "GET", path, "", "If-Modified-Since", before)
	o.want(200, "GET", path, "", "If-Modified-Since", "junk")
	o.want(412, "GET", path, "", "If-Unmodified-Since", before)
	o.want(412, "PATCH", path, `{"LastName":"B"}`, "If-Unmodified-Since", before)
	o.want(204, "PATCH", path, `{"LastName":"B"}`, "If-Modified-Since", "junk") // means nothing on a write
	o.want(204, "PATCH", path, `{"LastName":"C"}`, "If-Unmodified-Since", at)
	o.clock.advance(time.Second)
	o.want(204, "POST", path+"?_HttpMethod=PATCH", `{"LastName":"D"}`, "If-Unmodified-Since", at)
	o.want(412, "POST", path+"?_HttpMethod=PATCH", `{"LastName":"E"}`, "If-Unmodified-Since", at)
	require.Equal(t, "D", o.want(200, "GET", path, "").object()["LastName"])

	// Rows named by an external id are another resource, without conditions.
	o.want(201, "PATCH", v62+"/sobjects/Contact/Selfsame_Id__c/k", `{"LastName":"K"}`, "If-Unmodified-Since", before)
	o.want(200, "PATCH", v62+"/sobjects/Contact/Selfsame_Id__c/k", `{"LastName":"L"}`, "If-Unmodified-Since", before)
}

func TestDescriptionsAreConditional(t *testing.T) {
	t.Parallel()
	o := setup(t)
	for _, path := range []string{v62 + "/sobjects", v62 + "/sobjects/Account/describe"} {
		at := o.want(200, "GET", path, "").header.Get("Last-Modified")
		require.NotEmpty(t, at)
		r := o.want(304, "GET", path, "", "If-Modified-Since", at)
		require.Empty(t, r.text)
		require.NotEmpty(t, r.header.Get("Sforce-Limit-Info"))
		o.want(200, "GET", path, "", "If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT")
		o.want(412, "GET", path, "", "If-Unmodified-Since", "Mon, 01 Jan 2024 00:00:00 GMT")
	}
}

func TestOneOfManyConditionalWritersWins(t *testing.T) {
	t.Parallel()
	o := setup(t)
	path := v62 + "/sobjects/Account/" + o.account(`{"Name":"A"}`)
	tag := o.want(200, "GET", path, "").header.Get("ETag")
	var wg sync.WaitGroup
	results := make([]result, 8)
	for i := range results {
		wg.Go(func() { results[i], _ = o.try("PATCH", path, `{"Phone":"`+string(rune('0'+i))+`"}`, "If-Match", tag) })
	}
	wg.Wait()
	won := 0
	for _, r := range results {
		require.Contains(t, []int{204, 412}, r.status)
		if r.status == 204 {
			won++
		}
	}
	require.Equal(t, 1, won)
}
