// One of the counterparts on 127.0.0.1: node serve.cjs webhooks|webpush|telegram PORT. Ends with its standard input.
"use strict";

const [, , which, portText] = process.argv;
const port = Number(portText);
const ready = () => console.log("ready");

const servers = {
  // A site that believes what the reference library believes. Its secret is in SECRET; GET answers with all that it took.
  webhooks() {
    const { Webhook } = require("standardwebhooks");
    const site = new Webhook(process.env.SECRET);
    const taken = [];
    require("http")
      .createServer((request, response) => {
        if (request.method === "GET") {
          response.end(JSON.stringify(taken));
          return;
        }
        const parts = [];
        request.on("data", (part) => parts.push(part));
        request.on("end", () => {
          try {
            const event = site.verify(Buffer.concat(parts).toString("utf8"), request.headers);
            taken.push({ id: request.headers["webhook-id"], event });
            response.statusCode = 204;
          } catch {
            response.statusCode = 401;
          }
          response.end();
        });
      })
      .listen(port, "127.0.0.1", ready);
  },
  webpush() {
    const { PushApiModel } = require("web-push-testing/src/PushApiModel.js");
    const WebPushTestingServer = require("web-push-testing/src/server.js");
    const server = new WebPushTestingServer(new PushApiModel(), port);
    server.setRequestHandlers();
    server._app.listen(port, "127.0.0.1", ready); // its own startServer() would listen on every interface
  },
  telegram() {
    const { TelegramServer } = require("telegram-test-api/lib/telegramServer.js");
    new TelegramServer({ port, host: "127.0.0.1" }).start().then(ready);
  },
};

process.stdin.on("end", () => process.exit(0)).resume();
servers[which]();
