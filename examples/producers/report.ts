// Report a verification from TypeScript: node report.ts HOST PORT ACCOUNT MESSAGE_ID
// Tell that an OTP was sent: node report.ts HOST PORT ACCOUNT MESSAGE_ID COUNTRY
//
// Node.js 22.18 or newer runs this file as it is. An app that has a client for Redis (npm: redis, ioredis) calls its
// lPush(`otpreport.${event.account}`, reported(event)); `write` stands for that.

import { randomUUID } from "node:crypto";
import { connect } from "node:net";

type Verification = {
  account: string;
  message_id: string; // the provider's id of the SMS
  occurred_at: number | string; // UNIX milliseconds, or ISO 8601 with a zone
  verified?: boolean;
  sent_at?: number | string | null;
  app_id?: string | null;
};

type Dispatch = {
  account: string;
  message_id: string; // as in the Verification
  sent_at: number | string;
  expires_in?: number; // seconds
  country?: string; // ISO 3166-1; no phone number: a field that is not listed here is refused
};

const reported = (event: Verification): string => message("otpreport.report", { event });
const sent = (otp: Dispatch): string => message("otpreport.sent", { otp });

function message(task: string, named: object): string {
  return JSON.stringify({
    body: Buffer.from(JSON.stringify([[], named, {}])).toString("base64"),
    "content-type": "application/json",
    "content-encoding": "utf-8",
    headers: { id: randomUUID(), task },
    properties: { body_encoding: "base64" },
  });
}

function write(host: string, port: number, ...words: string[]): Promise<string> {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(`*${words.length}\r\n${parts.join("")}`));
    socket.setTimeout(1000, () => socket.destroy(new Error("no answer in time: report it again")));
    socket.on("error", reject);
    socket.on("data", (answer) => {
      socket.end();
      resolve(answer.toString().trim());
    });
  });
}

const [host, port, account, message_id, country] = process.argv.slice(2) as [string, string, string, string, string?];
const told = country
  ? sent({ account, message_id, sent_at: Date.now(), expires_in: 300, country })
  : reported({ account, message_id, occurred_at: new Date().toISOString(), sent_at: Date.now() - 20_000 });
console.log(await write(host, Number(port), "LPUSH", `otpreport.${account}`, told));
