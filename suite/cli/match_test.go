package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/match/evaluate"
)

// restaurants writes two files of the same 60 companies, spelled in two ways, with a mapping and the truth.
func restaurants(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	put := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	var a, b, gold strings.Builder
	a.WriteString("id,name,street,city,phone\n")
	b.WriteString("id;name;street;city;phone\n")
	gold.WriteString("crm,erp\n")
	first := strings.Fields("Alpen Brenner Castell Donau Elbe Falken Glocken Hirsch Isar Jura Kristall Linden")
	last := strings.Fields("Werke Mühle Logik Technik Bau")
	for i := range 60 {
		name := first[i%12] + " " + last[i/12]
		fmt.Fprintf(&a, "A%d,%s GmbH,Hauptstr. %d,Berlin,+49 30 %d\n", i, name, i+1, 5550000+i*1931)
		fmt.Fprintf(&b, "B%d;%s;Hauptstraße %d;Berlin;030/%d\n", i, strings.ToUpper(name), i+1, 5550000+i*1931)
		fmt.Fprintf(&gold, "A%d,B%d\n", i, i)
	}
	put("a.csv", a.String())
	put("b.csv", b.String())
	put("gold.csv", gold.String())
	put("map.yaml", "entity: organisation\nfields:\n  - {column: name, kind: organisation}\n  - {column: street, kind: street}\n  - {column: city, kind: city}\n  - {column: phone, kind: phone}\n")
	return dir
}

func TestMatch_TrainsEvaluatesAndExplains(t *testing.T) {
	t.Parallel()
	dir := restaurants(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	files := []string{"--records", at("a.csv"), "--records", at("b.csv"), "--fields", at("map.yaml")}

	code, out, problems := run(t, append([]string{"match", "train", "--out", at("model.yaml")}, files...)...)
	require.Equal(t, exitOK, code, problems)
	require.Contains(t, out, "120 records")
	files = append(files, "--model", at("model.yaml"))

	code, out, problems = run(t, append([]string{"match", "evaluate", "--gold", at("gold.csv"), "--max-per-source", "1", "--shuffle", "5", "--json"}, files...)...)
	require.Equal(t, exitOK, code, problems)
	var r evaluate.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Equal(t, 60, r.GoldPairs)
	require.GreaterOrEqual(t, r.Thresholds[0].Clusters.F1, 0.98)
	require.Zero(t, r.OneByOne.Differing)

	code, out, problems = run(t, append([]string{"match", "evaluate", "--gold", at("gold.csv")}, files...)...)
	require.Equal(t, exitOK, code, problems)
	require.Contains(t, out, "60 pairs belong together")

	code, out, problems = run(t, append([]string{"match", "dedup", "--out", at("clusters.csv"), "--temp", dir}, files...)...)
	require.Equal(t, exitOK, code, problems)
	require.Contains(t, out, "120 records: ")
	clusters, err := os.ReadFile(at("clusters.csv"))
	require.NoError(t, err)
	require.Contains(t, string(clusters), "source,id,cluster\na,A0,1\n")
	require.Equal(t, 121, strings.Count(string(clusters), "\n"))
	require.NoError(t, os.Symlink(at("a.csv"), at("link.csv")))
	for _, path := range []string{at("a.csv"), dir + "/../" + filepath.Base(dir) + "/a.csv", at("link.csv"), at("model.yaml")} {
		code, _, problems = run(t, append([]string{"match", "dedup", "--out", path, "--temp", dir}, files...)...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, problems, "--out would take the place of")
	}
	code, _, problems = run(t, append([]string{"match", "train", "--out", at("link.csv")}, files[:6]...)...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, problems, "--out would take the place of")
	require.NoError(t, os.Chmod(at("clusters.csv"), 0o640))
	code, _, _ = run(t, append([]string{"match", "dedup", "--out", at("clusters.csv"), "--temp", dir, "--records", at("none.csv")}, files...)...)
	require.NotEqual(t, exitOK, code)
	kept, err := os.ReadFile(at("clusters.csv"))
	require.NoError(t, err)
	require.Equal(t, clusters, kept, "what fails leaves the file as it was")
	rest, err := filepath.Glob(at(".clusters.csv.*"))
	require.NoError(t, err)
	require.Empty(t, rest)
	code, _, problems = run(t, append([]string{"match", "dedup", "--out", at("clusters.csv"), "--temp", dir}, files...)...)
	require.Equal(t, exitOK, code, problems)
	mode, err := os.Stat(at("clusters.csv"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), mode.Mode().Perm())

	code, out, problems = run(t, append([]string{"match", "explain", "A7", "B7"}, files...)...)
	require.Equal(t, exitOK, code, problems)
	require.Contains(t, out, "same: probability")
	require.Contains(t, out, "phone")
	require.NotContains(t, out, "Hirsch", "evidence has no values")
	code, out, problems = run(t, append([]string{"match", "explain", "A7", "B8", "-o", "json"}, files...)...)
	require.Equal(t, exitOK, code, problems)
	require.Contains(t, out, `"decision": "different"`)
}

func TestMatch_RefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	dir := restaurants(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("model.yaml"), []byte("version: 1\ncolour: red\n"), 0o600))
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no verb":               {nil, exitUsage, "say train, evaluate"},
		"another verb":          {[]string{"guess"}, exitUsage, `"guess" is none of`},
		"an argument too many":  {[]string{"train", "x"}, exitUsage, "takes 0 arguments"},
		"explain without ids":   {[]string{"explain"}, exitUsage, "takes 2 arguments"},
		"no flags":              {[]string{"train"}, exitUsage, "--fields, --out, --records must be given"},
		"three files":           {[]string{"train", "--records", "a", "--records", "b", "--records", "c", "--fields", "m", "--out", "o"}, exitUsage, "twice at most"},
		"a file that is not":    {[]string{"train", "--records", at("none.csv"), "--fields", at("map.yaml"), "--out", at("o")}, exitFailed, "none.csv"},
		"a model that is wrong": {[]string{"explain", "A1", "A2", "--records", at("a.csv"), "--fields", at("map.yaml"), "--model", at("model.yaml")}, exitFailed, "field colour not found"},
		"no truth":              {[]string{"evaluate", "--records", at("a.csv"), "--fields", at("map.yaml"), "--model", at("none.yaml")}, exitFailed, "none.yaml"},
		"quality without data":  {[]string{"quality"}, exitUsage, "--data must be given"},
		"quality of no sets":    {[]string{"quality", "--data", dir, "--only", "nothing"}, exitUsage, "no set begins"},
		"sets that are missing": {[]string{"quality", "--data", dir}, exitFailed, "FEBRL 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, problems := run(t, append([]string{"match"}, c.args...)...)
			require.Equal(t, c.code, code, problems)
			require.Contains(t, out+problems, c.says)
		})
	}
}

func TestMatch_SaysWhichBarsAreMet(t *testing.T) {
	t.Parallel()
	got := barsOf(evaluate.Result{
		Name: "people", Report: evaluate.Report{Thresholds: []evaluate.Threshold{{Clusters: evaluate.Quality{F1: 0.93}}}},
		Bars: []evaluate.Bar{{Name: "f1", Want: 0.94, Reached: 0.93}, {Name: "precision", Want: 0.99, Reached: 1, Met: true}},
	})
	require.Equal(t, "people: F1 0.9300\n  MISSED f1: wanted 0.94, reached 0.93\n  met    precision: wanted 0.99, reached 1\n", got)
}
