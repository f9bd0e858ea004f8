package matrix

import (
	"fmt"
	"strings"
)

const intro = `# Salesforce clients that run against the sandbox

<!-- Written by "make certify". Do not edit. -->

Each of these programs is used as its authors published it, in the exact version
named here, and talks to the sandbox binary over the network. What a client
cannot do by itself is not counted. The cases are in
` + "`services/system-salesforce/certification`" + `.

`

// Markdown writes the page that lists what passes.
func Markdown(rows []Row) string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("| client | version | language | passes | fails |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		passed, failed := Count([]Row{r})
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d |\n", r.Client.Name, r.Client.Version, r.Client.Language, passed, failed)
	}
	b.WriteString("\n## What passes\n\n|  |")
	for _, r := range rows {
		b.WriteString(" " + r.Client.Name + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(rows)) + "\n")
	for _, k := range Capabilities() {
		b.WriteString("| " + k.Title + " |")
		for _, r := range rows {
			b.WriteString(" " + mark(r.Outcomes[k.ID]) + " |")
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n–: not supported by the client.\n")
	list(&b, rows, "What fails, and why", func(o Outcome) bool { return !o.Passed && !o.Absent })
	list(&b, rows, "Not supported by the client", func(o Outcome) bool { return o.Absent })
	return b.String()
}

func mark(o Outcome) string {
	switch {
	case o.Absent:
		return "–"
	case o.Passed:
		return "passes"
	default:
		return "**fails**"
	}
}

// list writes a section with the reasons of the outcomes that match; the same
// reason of one client is written once.
func list(b *strings.Builder, rows []Row, title string, match func(Outcome) bool) {
	var body strings.Builder
	for _, r := range rows {
		titles := map[string][]string{}
		var order []string
		for _, k := range Capabilities() {
			o := r.Outcomes[k.ID]
			if !match(o) {
				continue
			}
			if titles[o.Reason] == nil {
				order = append(order, o.Reason)
			}
			titles[o.Reason] = append(titles[o.Reason], k.Title)
		}
		for _, reason := range order {
			fmt.Fprintf(&body, "| %s | %s | %s |\n", r.Client.Name, strings.Join(titles[reason], "; "), cell(reason))
		}
	}
	if body.Len() > 0 {
		fmt.Fprintf(b, "\n## %s\n\n| client | what | because |\n| --- | --- | --- |\n%s", title, body.String())
	}
}

// cell makes a text fit into one cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}
