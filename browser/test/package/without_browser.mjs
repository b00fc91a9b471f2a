console.log("as expected");
