package file

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxCandidateLines = 50_000 // of the file that are compared
	maxWanted         = 50     // lines of the wanted text that are compared
	maxShown          = 600    // bytes of a candidate
)

// candidate tells what in text comes nearest to the wanted text, which does not
// occur in it. edit is the number of the edit: a later one sees what the former
// have made.
func candidate(text, wanted string, edit int) string {
	after := ""
	if edit > 0 {
		after = " (after the edits before it)"
	}
	if strings.TrimSpace(text) == "" {
		return after + ": the file is empty"
	}
	want := strings.Split(strings.Trim(wanted, "\r\n"), "\n")
	want = want[:min(len(want), maxWanted)]
	have := strings.SplitN(text, "\n", maxCandidateLines+1)
	have = have[:min(len(have), maxCandidateLines)]
	at, score := nearestLines(have, want)
	if score == 0 {
		return after + ", and no line has half of its words; read the file again"
	}
	lines := have[at:min(at+len(want), len(have))]
	shown := strings.ToValidUTF8(strings.Join(lines, "\n"), "\uFFFD")
	why := ""
	if score == len(want)*exactWords && sameWords(lines, want) {
		why = ", which differs in spaces only"
	}
	if len(shown) > maxShown {
		shown = strings.ToValidUTF8(shown[:maxShown], "") + "…"
	}
	return fmt.Sprintf("%s; nearest is line %d%s: %q", after, at+1, why, shown)
}

// How much alike two lines are.
const (
	exactWords = 4 // the same but for spaces
	someWords  = 1 // half of the words, or more
)

// nearestLines returns where the lines are most like those wanted, and how
// much. Lines are compared by the words that they share.
func nearestLines(have, want []string) (at, score int) {
	sizes := make([]int, len(want))
	with := map[string][]int{} // the wanted lines that a word is in
	for j, w := range want {
		for _, word := range words(w) {
			with[word] = append(with[word], j)
			sizes[j]++
		}
	}
	// scores[i] belongs to the place whose first line is i-len(want)+1.
	scores := make([]int, len(have)+len(want))
	common := make([]int, len(want))
	for i, h := range have {
		ws := words(h)
		var seen []int
		for _, word := range ws {
			for _, j := range with[word] {
				if common[j]++; common[j] == 1 {
					seen = append(seen, j)
				}
			}
		}
		for _, j := range seen {
			switch n := common[j]; {
			case n == len(ws) && n == sizes[j]:
				scores[i-j+len(want)-1] += exactWords
			case 2*n >= sizes[j]:
				scores[i-j+len(want)-1] += someWords
			}
			common[j] = 0
		}
	}
	for i, n := range scores {
		if place := i - len(want) + 1; n > score && place >= 0 {
			at, score = place, n
		}
	}
	return at, score
}

// words returns the different words of a line, up to 20.
func words(line string) []string {
	var ws []string
	for w := range strings.FieldsSeq(line[:min(len(line), 500)]) {
		if !slices.Contains(ws, w) {
			ws = append(ws, w)
		}
		if len(ws) == 20 {
			break
		}
	}
	return ws
}

func sameWords(lines, want []string) bool {
	a, b := strings.Fields(strings.Join(lines, "\n")), strings.Fields(strings.Join(want, "\n"))
	return slices.Equal(a, b)
}
