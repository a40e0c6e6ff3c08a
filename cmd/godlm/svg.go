package main

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"slices"
	"strings"

	"github.com/godlm/godlm/net/node"
)

// Measures of the drawing, in its own units.
const (
	boxLeft           = 4
	boxWidth          = 270
	boxGap            = 12
	boxLine           = 17
	boxPad            = 7
	arcWidth          = 110
	drawWidth         = boxLeft + boxWidth + arcWidth
	charsPerLine      = 36
	waitsPerBox       = 3
	maxDrawn          = 40 // of the boxes
	maxDepthOfDrawing = 100
)

// box is a process in the drawing, with its requests.
type box struct {
	who   *who
	lines []string
	level int // above whom it waits for
	y, h  int
}

// drawGraph draws who waits for whom: who waits stands above those it waits for. All texts
// are escaped here.
func drawGraph(list []waiter) template.HTML {
	g := graphOf(list)
	boxes := make([]box, len(g.nodes))
	for i, w := range g.nodes {
		boxes[i].who = w
		boxes[i].lines = []string{w.String()}
	}
	for i := range list {
		for j, w := range g.nodes {
			if w != list[i].Owner {
				continue
			}
			b := &boxes[j]
			switch len(b.lines) {
			case waitsPerBox + 1:
				b.lines = append(b.lines, "and more")
			case waitsPerBox + 2:
			default:
				since := ""
				if list[i].age >= 0 {
					since = " " + span(list[i].age)
				}
				b.lines = append(b.lines, "wants "+list[i].Wanted+" on "+ascii(list[i].Resource)+since)
			}
		}
	}
	left := ""
	if len(boxes) > maxDrawn {
		left = fmt.Sprintf("<p>%d more programs take part; the table has all.</p>", len(boxes)-maxDrawn)
		boxes = boxes[:maxDrawn]
	}
	levels(boxes, g.edges)
	height := place(boxes)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg id="graph" viewBox="0 0 %d %d" role="img" aria-label="who waits for whom">`, drawWidth, height)
	b.WriteString(`<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z"/></marker></defs>`)
	for _, e := range g.edges {
		if e.from < len(boxes) && e.to < len(boxes) {
			drawEdge(&b, &boxes[e.from], &boxes[e.to], e.queued)
		}
	}
	for i := range boxes {
		drawBox(&b, &boxes[i])
	}
	b.WriteString("</svg>" + left)
	return template.HTML(b.String())
}

// levels puts each box above all that it waits for, as far as there is no cycle.
func levels(boxes []box, edges []edge) {
	for round := 0; round < min(len(boxes), maxDepthOfDrawing); round++ {
		changed := false
		for _, e := range edges {
			if e.from < len(boxes) && e.to < len(boxes) && e.from != e.to && boxes[e.from].level <= boxes[e.to].level && boxes[e.to].level+1 < len(boxes) {
				boxes[e.from].level = boxes[e.to].level + 1
				changed = true
			}
		}
		if !changed {
			return
		}
	}
}

// place stacks the boxes, the highest level first, and returns the height of all.
func place(boxes []box) (height int) {
	order := make([]*box, len(boxes))
	for i := range boxes {
		order[i] = &boxes[i]
	}
	slices.SortStableFunc(order, func(x, y *box) int { return cmp.Compare(y.level, x.level) })
	y := boxGap
	for _, b := range order {
		b.y, b.h = y, len(b.lines)*boxLine+2*boxPad
		y += b.h + boxGap
	}
	return y
}

func drawBox(b *strings.Builder, x *box) {
	class := "box"
	if x.who.State == node.Stopped {
		class = "box stopped"
	}
	fmt.Fprintf(b, `<g class="%s"><rect x="%d" y="%d" width="%d" height="%d" rx="5"/>`, class, boxLeft, x.y, boxWidth, x.h)
	for i, line := range x.lines {
		kind := ""
		if i == 0 {
			kind = ` class="who"`
		}
		fmt.Fprintf(b, `<text%s x="%d" y="%d">%s</text>`, kind, boxLeft+boxPad, x.y+boxPad+12+i*boxLine, html.EscapeString(fit(line, charsPerLine)))
	}
	b.WriteString("</g>")
}

// drawEdge draws an arc from who waits to whom it waits for, beside the boxes.
func drawEdge(b *strings.Builder, from, to *box, queued bool) {
	class := "edge"
	if queued {
		class = "edge queued"
	}
	x := boxLeft + boxWidth
	y1, y2 := from.y+from.h/2, to.y+to.h/2
	if from.y < to.y { // so that what comes and what goes are apart
		y2 -= to.h / 5
	} else {
		y2 += to.h / 5
	}
	far := x + min(arcWidth, 30+max(y1-y2, y2-y1)/4)
	fmt.Fprintf(b, `<path class="%s" d="M%d %dC%d %d %d %d %d %d" marker-end="url(#tip)"/>`, class, x, y1, far, y1, far, y2, x+2, y2)
}
