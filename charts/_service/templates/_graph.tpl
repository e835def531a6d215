{{/* Made by scripts/access.py from protos/callers.py and protos/topics.py: do not edit. */}}
{{- define "corkboard.graph" -}}
ingest: {calledBy: [surface, content], calls: [quota]}
enrich: {calledBy: [people], calls: [indexer, quota]}
indexer: {calledBy: [enrich, cg, ranker-root, blender, people, jobs], calls: [quota]}
indexer-lake: {calledBy: [quota], calls: [quota]}
cg: {calledBy: [blender], calls: [indexer, quota]}
ranker-root: {calledBy: [blender], calls: [indexer, ranker-leaf, quota]}
ranker-leaf: {calledBy: [ranker-root], calls: [quota]}
blender: {calledBy: [surface, people], calls: [indexer, cg, ranker-root, quota]}
quota: {calledBy: [ingest, enrich, indexer, indexer-lake, cg, ranker-root, ranker-leaf, blender, people], calls: [indexer-lake]}
{{- end -}}
