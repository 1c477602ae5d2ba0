#!/bin/sh
# Creates or updates the dashboard in InfluxDB 2, as the stack clpm-execd of the organization. It needs curl, and in the
# environment INFLUXDB_URL, INFLUXDB_TOKEN and INFLUXDB_ORG:
#
#   sh telegraf/apply-dashboard.sh
set -eu
hint="is not set; export INFLUXDB_URL, INFLUXDB_TOKEN and INFLUXDB_ORG"
: "${INFLUXDB_URL:?$hint}" "${INFLUXDB_TOKEN:?$hint}" "${INFLUXDB_ORG:?$hint}"
template=$(dirname "$0")/dashboard-influxdb.json

# The token comes from stdin, because a command line can be read by every user of the machine.
api() {
    path=$1
    shift
    printf 'header = "Authorization: Token %s"\n' "$INFLUXDB_TOKEN" |
        curl -fsS --config - "$@" "${INFLUXDB_URL%/}/api/v2/$path"
}
first_id() { sed -n 's/^[[:space:]]*"id": "\([0-9a-f]\{16\}\)".*/\1/p' | head -n 1; }

org=$(api orgs --get --data-urlencode "org=$INFLUXDB_ORG" | first_id)
[ -n "$org" ] || { echo "InfluxDB has no organization $INFLUXDB_ORG for this token; check URL, token and name" >&2; exit 1; }
stack=$(api stacks --get --data-urlencode "orgID=$org" --data-urlencode "name=clpm-execd" | first_id)
[ -n "$stack" ] || stack=$(api stacks --data "{\"orgID\": \"$org\", \"name\": \"clpm-execd\"}" | first_id)

body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
    printf '{"orgID": "%s", "stackID": "%s", "template": {"contents": ' "$org" "$stack"
    cat "$template"
    printf '}}'
} >"$body"
api templates/apply --header "Content-Type: application/json" --data-binary "@$body" >/dev/null
echo "InfluxDB at $INFLUXDB_URL has the dashboard Control loops.${DASHBOARD_HINT:+ $DASHBOARD_HINT}"
