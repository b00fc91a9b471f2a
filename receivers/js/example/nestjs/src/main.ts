// A microservice of NestJS that takes orders, and knows whose they are.
//
//	node dist/main.js URL TRUST.json
//
// URL has the user and password of the service; TRUST.json is what it trusts: see docs/proofs.md.
import "reflect-metadata";
import { readFile } from "node:fs/promises";
import { Controller, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { MessagePattern, type MicroserviceOptions, Payload } from "@nestjs/microservices";
import { type Identity, Trust } from "@stamp/receiver";
import { Sender, StampedNats } from "./stamped.js";

@Controller()
class Orders {
  @MessagePattern("orders.new")
  order(@Sender() { user, values }: Identity, @Payload() { apples }: { apples: number }): string {
    return `thank you, ${user} (${values.Roles}), for ${apples} apples`;
  }
}

@Module({ controllers: [Orders] })
class App {}

const [, , url = "", file = ""] = process.argv;
const { host, username, password } = new URL(url);
const trust = await Trust.fromJSON(await readFile(file, "utf8")).ready();
const strategy = new StampedNats(trust, { servers: host, user: decodeURIComponent(username), pass: decodeURIComponent(password) });
const app = await NestFactory.createMicroservice<MicroserviceOptions>(App, { strategy, logger: ["error"] });
await app.listen();
console.log("ready");
process.once("SIGINT", () => app.close());
