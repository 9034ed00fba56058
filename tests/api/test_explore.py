import json
from tests.api.conftest import *

def show(r): print(r.status_code, r.headers.get("content-type"), r.text[:300])

def tryit(name, f):
    try:
        r = f(); print(name, "->", r.status_code, r.text[:160])
    except BaseException as e:
        print(name, "-> !!", type(e).__name__, str(e)[:160].replace("\n"," "))

def test_explore(api):
    c = api.client()
    J = {"content-type": "application/json"}
    def post(path, body, h=J): return lambda: c.post(path, content=body, headers=h)
    def get(path): return lambda: c.get(path)
    codes = api.issue("p1","p2","p3"); code=codes["p1"]
    api.apply(PARTNER)
    print("SEP", api.ledger.dialect)
    exact = b'{ "code" : "%s" }' % code.encode()
    for ct in (None, "application/json", "text/plain", "application/x-www-form-urlencoded", "text/json", "application/vnd.crm+json", "application/octet-stream", "json"):
        tryit(f"ct {ct}", post("/v1/codes", exact, {} if ct is None else {"content-type": ct}))
    tryit("code nul", post("/v1/codes", b'{"code":"AB\\u0000C"}'))
    tryit("ext nul", post("/v1/codes", b'{"code":"ABX","user_ext_id":"\\u0000"}'))
    tryit("campaign nul", post("/v1/codes", b'{"code":"ABY","campaign":"\\u0000"}'))
    tryit("code surrogate", post("/v1/codes", b'{"code":"AB\\ud800C"}'))
    tryit("lookup nul", post("/v1/codes/lookup", b'{"code":"AB\\u0000C"}'))
    tryit("lookup empty fold", post("/v1/codes/lookup", b'{"code":"---"}'))
    for p in ("/v1/codes?player_id=%00","/v1/codes?campaign=%00","/v1/codes?request_id=%00","/v1/codes?after=99999999999999999999999","/v1/codes/%00","/v1/codes/a%2Fb","/v1/requests/%00","/v1/requests/a%2Fb","/v1/deposits/%00","/v1/deposits?player_id=%00","/v1/deposits?player_id=a&after=%00","/v1/players/%00","/v1/events?after=","/v1/events?after=99999999999999999999.1.1","/v1/events?after=1.99999999999999999999999999.1","/v1/events?after=1.2.3.4","/v1/events?limit=0","/nope", "/v1/codes/%ff", "/v1/deposits/%ED%A0%80"):
        tryit(p, get(p))
    tryit("put player nul", lambda: c.put("/v1/players/%00", json={}))
    tryit("put player", lambda: c.put("/v1/players/p9", json={"locale":"\x00"}))
    tryit("put player until big", lambda: c.put("/v1/players/p9", json={"blocks":[{"type":"Excluded","active":True,"until":10**18}]}))
    tryit("get player", get("/v1/players/p9"))
    tryit("put player until huge", lambda: c.put("/v1/players/p9", json={"blocks":[{"type":"Excluded","active":True,"until":10**30}]}))
    tryit("put player surrogate", lambda: c.put("/v1/players/p9", content=b'{"locale":"\\ud800"}', headers=J))
    tryit("issue surrogate player", post("/v1/issue", b'{"request_id":"s1","campaign":"welcome","recipients":[{"player_id":"\\ud800"}]}'))
    tryit("issue surrogate key", post("/v1/issue", b'{"request_id":"s2","campaign":"welcome","recipients":[{"player_id":"a","\\ud800":1}]}'))
    tryit("issue surrogate top key", post("/v1/issue", b'{"\\ud800":1}'))
    tryit("issue surrogate extra in codes lookup", post("/v1/codes/lookup", b'{"\\ud800":1}'))
    tryit("issue campaign surrogate", post("/v1/issue", b'{"request_id":"s3","campaign":"\\ud800","recipients":[{"player_id":"a"}]}'))
    tryit("issue deep", post("/v1/issue", b'{"request_id":"s4","campaign":"welcome","recipients":[{"player_id":"a","attributes":{"x":'+b'['*900+b']'*900+b'}}]}'))
    tryit("issue very deep", post("/v1/issue", b'['*200000))
    tryit("issue not utf8", post("/v1/issue", b'{"a":"\xff"}'))
    tryit("issue nan", post("/v1/issue", b'{"request_id":"s5","campaign":"welcome","recipients":[{"player_id":"nan","attributes":{"x":NaN}}]}'))
    tryit("issue no body", post("/v1/issue", b''))
    tryit("issue bad json", post("/v1/issue", b'{'))
    tryit("issue null", post("/v1/issue", b'null'))
    D = lambda extra: json.dumps(deposit_of(**extra)).encode()
    tryit("dep idx", post("/v1/deposits", D({"deposit_id":"d1","deposit_index": 10**30})))
    tryit("dep occ", post("/v1/deposits", D({"deposit_id":"d2","occurred_at": 10**30})))
    tryit("dep occ0", post("/v1/deposits", D({"deposit_id":"d3","occurred_at": "0001-01-01T00:00:00+23:59"})))
    tryit("dep amt", post("/v1/deposits", D({"deposit_id":"d4","amount": "9"*5000})))
    tryit("dep amt", post("/v1/deposits", D({"deposit_id":"d5","amount": 10**300})))
    tryit("dep amt", post("/v1/deposits", b'{"deposit_id":"d6","player_id":"p1","status":"approved","currency":"EUR","amount":1e400}'))
    tryit("dep pm nul", post("/v1/deposits", D({"deposit_id":"d7","payment_method": "\x00"})))
    tryit("dep code nul", post("/v1/deposits", D({"deposit_id":"d8","promo_code": "\x00"})))
    tryit("dep null", post("/v1/deposits", b'null'))
    tryit("dep null", post("/v1/deposits", b'[]'))
    tryit("dep null", post("/v1/deposits", b'7'))
    tryit("dep list", post("/v1/deposits", b'[null, 1, "a", {}]'))
    try: api.work()
    except BaseException as e: print("work !!", type(e), str(e)[:200])
    A = lambda **k: json.dumps({"eid":"e1","event_type":"client_action","payload":{"client_action":"CODE_IS_SHOWN","code":code}, **k}).encode()
    tryit("act", post("/v1/events/client-action", A()))
    tryit("act date", post("/v1/events/client-action", A(eid="e2", event_date=1732442400000)))
    tryit("act date", post("/v1/events/client-action", A(eid="e3", event_date="1732442400000")))
    tryit("act date", post("/v1/events/client-action", A(eid="e4", event_date="2026-11-24T10:00:00Z")))
    tryit("act date", post("/v1/events/client-action", A(eid="e5", event_date="yesterday")))
    tryit("act date", post("/v1/events/client-action", A(eid="e6", event_date=1732442400000.0)))
    tryit("act date", post("/v1/events/client-action", A(eid="e7", event_date="9"*6000)))
    tryit("act eid int", post("/v1/events/client-action", A(eid=12345)))
    tryit("act unknown", post("/v1/events/client-action", A(eid=12346, payload={"client_action":"X","code":"NOPE"})))
    tryit("act unknown", post("/v1/events/client-action", A(eid=12346, payload={"client_action":"X","code":"---"})))
    tryit("act unknown", post("/v1/events/client-action", A(eid=12346, payload={"client_action":"X","code":12345})))
    tryit("big", post("/v1/issue", b' '*(33*1024*1024)))
    tryit("405", lambda: c.delete("/v1/issue"))
    r = c.get("/v1/events", params={"limit": 1000}).json(); n=len(r["items"])
    seen=[]; after="0.0.0"
    for _ in range(100):
        r = c.get("/v1/events", params={"limit": 1, "after": after}).json()
        seen += r["items"]; 
        if not r["items"]: break
        after=r["next"]
    print("events", n, "seen with limit 1:", len(seen))
    print(json.dumps(c.get(f"/v1/codes/{code}").json(), indent=1)[:3000])
