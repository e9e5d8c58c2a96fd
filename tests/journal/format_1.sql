-- A journal of format 1, with one operation in each state; made by the version that wrote that format.
PRAGMA application_id = 1937007737;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE operation (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    namespace      TEXT    NOT NULL,
    tenant         TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    conflict       TEXT,
    fp_version     INTEGER NOT NULL,
    fp_digest      BLOB    NOT NULL,
    capability     TEXT    NOT NULL,
    upstream_key   TEXT    NOT NULL,
    method         TEXT    NOT NULL,
    uri            TEXT    NOT NULL,
    headers        TEXT    NOT NULL,
    asked_at       INTEGER NOT NULL,
    state          TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    owner          INTEGER NOT NULL,
    lease_until    INTEGER NOT NULL,
    due            INTEGER,
    progress       TEXT    NOT NULL,
    answer_status  INTEGER,
    answer_headers TEXT,
    body           BLOB    NOT NULL,
    answer_body    BLOB,
    UNIQUE (namespace, tenant, key)
) STRICT;
INSERT INTO "operation" VALUES(X'00000000000000000000000000000001','test','9130','key-0','bill-0',1,X'0303030303030303030303030303030303030303030303030303030303030303','{"keyed":{"horizon":{"secs":3600,"nanos":0},"concurrent":"unproven"}}','up-key-0','POST','https://upstream.example/bill','[["content-type","application/json"]]',1000,'sending',1,-77405618595430400,61000,61000,'{"state":"sending","version":1,"owner":18369338455114121216,"lease_until":61000,"attempts":[],"history":[],"due":61000,"checks":0,"acknowledged":false,"contradicted":false}',NULL,NULL,X'',NULL);
INSERT INTO "operation" VALUES(X'00000000000000000000000000000002','test','9130','key-1','bill-1',1,X'0303030303030303030303030303030303030303030303030303030303030303','"lookup"','up-key-1','POST','https://upstream.example/bill','[["content-type","application/json"]]',1000,'sending',2,-77405618595430399,61000,61000,'{"state":"sending","version":2,"owner":18369338455114121217,"lease_until":61000,"attempts":[{"number":1,"owner":18369338455114121217,"started":2000,"ended":null,"settles":302000}],"history":[{"at":2000,"from":"claimed","to":"sending","why":"an attempt begins","by":"gate"}],"due":61000,"checks":0,"acknowledged":false,"contradicted":false}',NULL,NULL,X'78787878787878787878',NULL);
INSERT INTO "operation" VALUES(X'00000000000000000000000000000003','test','9130','key-2','bill-2',1,X'0303030303030303030303030303030303030303030303030303030303030303','"none"','up-key-2','POST','https://upstream.example/bill','[["content-type","application/json"]]',1000,'unknown',2,-77405618595430398,4000,4000,'{"state":"unknown","version":2,"owner":18369338455114121218,"lease_until":4000,"attempts":[{"number":1,"owner":18369338455114121218,"started":2000,"ended":{"at":3000,"outcome":"unknown","closed":false},"settles":303000}],"history":[{"at":2000,"from":"claimed","to":"sending","why":"an attempt begins","by":"gate"},{"at":4000,"from":"sending","to":"unknown","why":"no proof either way","by":"owner"}],"due":4000,"checks":0,"acknowledged":false,"contradicted":false}',NULL,NULL,X'7878787878787878787878787878787878787878',NULL);
INSERT INTO "operation" VALUES(X'00000000000000000000000000000004','test','9130','key-3','bill-3',1,X'0303030303030303030303030303030303030303030303030303030303030303','{"keyed":{"horizon":{"secs":3600,"nanos":0},"concurrent":"unproven"}}','up-key-3','POST','https://upstream.example/bill','[["content-type","application/json"]]',1000,'ready',2,-77405618595430397,4000,NULL,'{"state":"ready","version":2,"owner":18369338455114121219,"lease_until":4000,"attempts":[{"number":1,"owner":18369338455114121219,"started":2000,"ended":{"at":3000,"outcome":"unsent","closed":true},"settles":3000}],"history":[{"at":4000,"from":"sending","to":"ready","why":"nothing happened","by":"owner"}],"due":null,"checks":0,"acknowledged":false,"contradicted":false}',NULL,NULL,X'787878787878787878787878787878787878787878787878787878787878',NULL);
INSERT INTO "operation" VALUES(X'00000000000000000000000000000005','test','9130','key-4','bill-4',1,X'0303030303030303030303030303030303030303030303030303030303030303','"lookup"','up-key-4','POST','https://upstream.example/bill','[["content-type","application/json"]]',1000,'completed',2,-77405618595430396,61000,NULL,'{"state":"completed","version":2,"owner":18369338455114121220,"lease_until":61000,"attempts":[{"number":1,"owner":18369338455114121220,"started":2000,"ended":{"at":3000,"outcome":"applied","closed":true},"settles":3000}],"history":[{"at":2000,"from":"claimed","to":"sending","why":"an attempt begins","by":"gate"},{"at":3000,"from":"sending","to":"completed","why":"the answer proves it","by":"gate"}],"due":null,"checks":0,"acknowledged":true,"contradicted":false}',200,'[["content-type","application/json"]]',X'78787878787878787878787878787878787878787878787878787878787878787878787878787878',X'6161616161');
INSERT INTO "operation" VALUES(X'00000000000000000000000000000006','test','9130','key-5','bill-5',1,X'0303030303030303030303030303030303030303030303030303030303030303','"none"','up-key-5','POST','https://upstream.example/bill','[["content-type","application/json"]]',1000,'rejected',2,-77405618595430395,61000,NULL,'{"state":"rejected","version":2,"owner":18369338455114121221,"lease_until":61000,"attempts":[{"number":1,"owner":18369338455114121221,"started":2000,"ended":{"at":3000,"outcome":"rejected","closed":true},"settles":3000}],"history":[{"at":2000,"from":"claimed","to":"sending","why":"an attempt begins","by":"gate"},{"at":3000,"from":"sending","to":"rejected","why":"the upstream refused it","by":"gate"}],"due":null,"checks":0,"acknowledged":true,"contradicted":false}',200,'[["content-type","application/json"]]',X'7878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878',X'6161616161');
INSERT INTO "operation" VALUES(X'00000000000000000000000000000007','test','9130','key-6','bill-6',1,X'0303030303030303030303030303030303030303030303030303030303030303','{"keyed":{"horizon":{"secs":3600,"nanos":0},"concurrent":"unproven"}}','up-key-6','POST','https://upstream.example/bill','[["content-type","application/json"]]',1000,'parked',2,-77405618595430394,4000,4000,'{"state":"parked","version":2,"owner":18369338455114121222,"lease_until":4000,"attempts":[{"number":1,"owner":18369338455114121222,"started":2000,"ended":{"at":3000,"outcome":"unknown","closed":false},"settles":303000}],"history":[{"at":4000,"from":"sending","to":"unknown","why":"no proof either way","by":"owner"},{"at":5000,"from":"unknown","to":"parked","why":"no proof","by":"worker"}],"due":4000,"checks":0,"acknowledged":false,"contradicted":false}',NULL,NULL,X'787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878',NULL);
CREATE UNIQUE INDEX operation_conflict ON operation (namespace, tenant, conflict)
    WHERE conflict IS NOT NULL AND state NOT IN ('completed', 'rejected');
CREATE INDEX operation_due ON operation (due, id) WHERE due IS NOT NULL;
CREATE INDEX operation_tenant ON operation (tenant);
COMMIT;
