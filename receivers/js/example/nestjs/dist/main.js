var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
var __param = (this && this.__param) || function (paramIndex, decorator) {
    return function (target, key) { decorator(target, key, paramIndex); }
};
// A microservice of NestJS that takes orders, and knows whose they are.
//
//	node dist/main.js URL TRUST.json
//
// URL has the user and password of the service; TRUST.json is what it trusts: see docs/proofs.md.
import "reflect-metadata";
import { readFile } from "node:fs/promises";
import { Controller, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { MessagePattern, Payload } from "@nestjs/microservices";
import { Trust } from "@stamp/receiver";
import { Sender, StampedNats } from "./stamped.js";
let Orders = class Orders {
    order({ user, values }, { apples }) {
        return `thank you, ${user} (${values.Roles}), for ${apples} apples`;
    }
};
__decorate([
    MessagePattern("orders.new"),
    __param(0, Sender()),
    __param(1, Payload())
], Orders.prototype, "order", null);
Orders = __decorate([
    Controller()
], Orders);
let App = class App {
};
App = __decorate([
    Module({ controllers: [Orders] })
], App);
const [, , url = "", file = ""] = process.argv;
const { host, username, password } = new URL(url);
const trust = await new Trust(JSON.parse(await readFile(file, "utf8"))).ready();
const strategy = new StampedNats(trust, { servers: host, user: decodeURIComponent(username), pass: decodeURIComponent(password) });
const app = await NestFactory.createMicroservice(App, { strategy, logger: ["error"] });
await app.listen();
console.log("ready");
process.once("SIGINT", () => app.close());
